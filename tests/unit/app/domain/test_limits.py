"""Part plans: parts of at least 16 MiB, and never more of them than a store takes."""

from __future__ import annotations

import pytest

from app.domain.limits import GIB, MAX_PARTS, MIB, num_parts_for, part_size_for


@pytest.mark.parametrize("size_bytes", [0, 1, 16 * MIB, 16 * MIB + 1, 5 * GIB, 64 * GIB, 200 * GIB])
def test_parts_cover_the_file_and_are_few_enough(size_bytes: int) -> None:
    part, number = part_size_for(size_bytes), num_parts_for(size_bytes)
    assert part >= 16 * MIB
    assert 1 <= number <= MAX_PARTS
    assert (number - 1) * part < max(size_bytes, 1) <= number * part
