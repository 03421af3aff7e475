"""What fuzzing starts from and what it once found, given to the readers again. Needs no fuzzer."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuzz.repairs import png_checksums, tar_checksums
from fuzz.seeds import seeds_of
from fuzz.target import MODULES, Target, run_one, target
from tests.fixtures.shards import encoded, good_pair, random_image, write_tar

FINDINGS = Path(__file__).parents[2] / "fixtures" / "fuzz_findings"
"""One folder a target; each file is an input that something other than a refusal once escaped for."""


@pytest.mark.parametrize("name", sorted(MODULES))
def test_every_seed_is_read_or_refused(name: str, tmp_path: Path) -> None:
    tried = target(name)
    num_seeds = 0
    for seed, data in seeds_of(name):
        folder = tmp_path / str(num_seeds)
        folder.mkdir()
        try:
            run_one(tried, data, folder)
        except BaseException as error:
            raise AssertionError(f"seed {seed}") from error
        num_seeds += 1
    assert num_seeds >= 10


@pytest.mark.parametrize(
    "path", sorted(FINDINGS.glob("*/*")), ids=lambda path: f"{path.parent.name}-{path.name}"
)
def test_what_fuzzing_found_is_mended(path: Path, tmp_path: Path) -> None:
    run_one(target(path.parent.name), path.read_bytes(), tmp_path)


def test_a_finding_is_noticed(tmp_path: Path) -> None:
    """The check itself: a reader whose error is no refusal."""

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
