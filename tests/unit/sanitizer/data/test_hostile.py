"""Hostile data through the real validation: each case is refused or skipped with its own reason, or read."""

import resource
import time
from pathlib import Path

import pytest

from cleanclip.vocabulary.errors import DatasetRejected
from lab.testbed.writing import png
from sanitizer.data.images import decode
from sanitizer.data.shards import ShardSource
from sanitizer.data.skipping import BadSample
from sanitizer.data.texts import caption_of
from sanitizer.data.validation import summarise
from tests.fixtures.hostile_images import IMAGES
from tests.fixtures.hostile_shards import SHARDS
from tests.fixtures.hostile_texts import MANIFESTS, TEXTS
from tests.fixtures.shards import good_pair, random_image, write_tar
from tests.fixtures.tar_blocks import BLOCK, block

ANY_SHARE = 0.95
MAX_S = 5.0


def is_safe_to_show(text: str) -> bool:
    return text.isprintable()


@pytest.mark.parametrize("name", sorted(IMAGES))
def test_pictures(name: str) -> None:
    case = IMAGES[name]
    data = case.make()
    began = time.process_time()
    if case.reason is None:
        image = decode(data)
        assert image.mode == "RGB"
        assert image.size == case.size
    else:
        with pytest.raises(BadSample) as caught:
            decode(data)
        assert caught.value.reason == case.reason
        assert is_safe_to_show(caught.value.detail)
    assert time.process_time() - began < MAX_S


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_captions(name: str) -> None:
    case = TEXTS[name]
    if case.reason is None:
        assert caption_of({case.extension: case.data}) == case.caption
        return
    with pytest.raises(BadSample) as caught:
        caption_of({case.extension: case.data})
    assert caught.value.reason == case.reason


@pytest.mark.parametrize("name", sorted(SHARDS))
def test_shards(name: str, tmp_path: Path) -> None:
    case = SHARDS[name]
    case.write(tmp_path / "shard.tar")
    before = sorted(tmp_path.rglob("*"))
    if case.refused is not None:
        with pytest.raises(DatasetRejected) as caught:
            summarise(tmp_path, "pairs", ANY_SHARE)
        assert caught.value.code == case.refused
        assert is_safe_to_show(str(caught.value))
    else:
        summary = summarise(tmp_path, "pairs", ANY_SHARE)
        assert summary.num_samples == case.num_good
        assert summary.skipped_reasons == case.reasons
        assert all(map(is_safe_to_show, summary.skipped_examples))
    assert sorted(tmp_path.rglob("*")) == before, "validation wrote something"


@pytest.mark.parametrize("name", sorted(MANIFESTS))
def test_manifests_lead_to_no_file_of_others(name: str, tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_bytes(MANIFESTS[name])
    with pytest.raises(DatasetRejected) as caught:
        summarise(tmp_path, "pairs", ANY_SHARE)
    assert is_safe_to_show(str(caught.value))


def set_of(folder: Path, num_good: int, num_bad: int) -> Path:
    bad = [
        member
        for number in range(num_bad)
        for member in ((f"bad{number}.png", b"<svg/>"), (f"bad{number}.txt", b"=1+1"))
    ]
    good = [member for number in range(num_good) for member in good_pair(f"good{number}", number)]
    return write_tar(folder / "shard.tar", [*good, *bad]).parent


def test_bad_samples_up_to_the_stated_share_are_counted_and_skipped(tmp_path: Path) -> None:
    summary = summarise(set_of(tmp_path, 18, 2), "pairs", 0.1)
    assert (summary.num_samples, summary.num_skipped) == (18, 2)
    assert summary.skipped_reasons == {"image_damaged": 2}
    assert len(summary.skipped_examples) == 2


def test_above_the_share_the_data_set_is_rejected_with_examples(tmp_path: Path) -> None:
    with pytest.raises(DatasetRejected) as caught:
        summarise(set_of(tmp_path, 17, 3), "pairs", 0.1)
    assert caught.value.code == "too_many_bad_samples"
    assert "bad0: image_damaged (not a JPEG, PNG or WEBP)" in str(caught.value)


@pytest.mark.slow
def test_a_million_tiny_members_take_little_time_and_memory(tmp_path: Path) -> None:
    """A quarter of a million here, and the cost of one: it does not grow with their number."""
    num_members = 250_000
    model = block(b"0000000.txt")
    with (tmp_path / "shard.tar").open("wb") as file:
        for number in range(num_members):
            name = b"%07d" % number
            checksum = int(model[148:154], 8) + sum(name) - 7 * ord("0")
            file.write(name + model[7:148] + b"%06o\0 " % checksum + model[156:])
        file.write(bytes(2 * BLOCK))
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.process_time()
    source = ShardSource([tmp_path / "shard.tar"])
    assert len(source) == num_members
    assert source.key(num_members - 1) == "0249999"
    assert time.process_time() - began < 20
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib) * 1024 / num_members < 400


def test_a_label_keeps_its_name_whatever_characters_the_names_hold(tmp_path: Path) -> None:
    """Python's splitlines would see six lines in these two names."""
    names = ["tench\u2028fish", "gold\x0bfish\x85\x1c"]
    (tmp_path / "classnames.txt").write_bytes("".join(f"{name}\n" for name in names).encode())
    picture = png(random_image(1))
    write_tar(
        tmp_path / "shard.tar", [("a.png", picture), ("a.cls", b"0"), ("b.png", picture), ("b.cls", b"1")]
    )
    summary = summarise(tmp_path, "labelled", 0.0)
    assert summary.class_names == ("tench fish", "gold fish")
    assert summary.images_per_class == (1, 1)
