"""What fuzzing starts from and what it once found, given to the readers again. Needs no fuzzer."""

from pathlib import Path

import pytest

from lab.fuzz.seeds import replay
from lab.fuzz.target import MODULES, Target, png_checksums, run_one, tar_checksums
from tests.fixtures.shards import encoded, good_pair, random_image, write_tar


@pytest.mark.parametrize("name", sorted(MODULES))
def test_every_seed_and_every_finding_is_read_or_refused(name: str) -> None:
    num_inputs, problems = replay(name)
    assert problems == []
    assert num_inputs >= 10


def test_a_finding_is_noticed(tmp_path: Path) -> None:
    """The check itself: a reader whose error is not a refusal."""

    def reads(data: bytes, _folder: Path) -> None:
        raise IndexError(data)

    with pytest.raises(IndexError):
        run_one(Target(read=reads, max_bytes=1), b"", tmp_path)


def test_checksums_are_put_right(tmp_path: Path) -> None:
    whole = write_tar(tmp_path / "a.tar", [*good_pair("a"), *good_pair("b")]).read_bytes()
    assert tar_checksums(whole) == whole
    spoilt = bytearray(whole)
    spoilt[148:156] = b"00000000"
    assert tar_checksums(bytes(spoilt)) == whole
    png = encoded(random_image(1), "PNG")
    assert png_checksums(png) == png
    assert png_checksums(png[:-16] + bytes(4) + png[-12:]) == png
