"""The plan of parts: sizes that add up, whatever the file's size."""

from dataclasses import dataclass
from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from app.db.models.assets import Upload
from app.services.uploads import part_size, plan_part_size
from app.settings import UploadSettings

MIB = 1024 * 1024
LIMITS = UploadSettings()


@dataclass
class Planned:
    size_bytes: int
    part_size_bytes: int
    num_parts: int


@given(st.integers(1, 5 * 1024**4))
def test_parts_cover_the_file_exactly_and_s3_takes_them(size_bytes: int) -> None:
    each = plan_part_size(size_bytes, LIMITS)
    num_parts = -(-size_bytes // each)
    upload = cast(Upload, Planned(size_bytes, each, num_parts))
    assert each >= 16 * MIB
    assert each % MIB == 0
    assert num_parts <= 10_000, "S3's own bound"
    assert 1 <= part_size(upload, num_parts) <= each
    before_last = sum(part_size(upload, 1) for _ in range(num_parts - 1))
    assert before_last + part_size(upload, num_parts) == size_bytes


def test_a_file_under_144_gigabytes_goes_in_parts_of_16_mebibytes() -> None:
    assert plan_part_size(1, LIMITS) == 16 * MIB
    assert plan_part_size(9000 * 16 * MIB, LIMITS) == 16 * MIB
    assert plan_part_size(9000 * 16 * MIB + 1, LIMITS) == 17 * MIB
