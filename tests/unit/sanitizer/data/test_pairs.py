"""Opening pairs: what is accepted, what is refused with which code, and the digest."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from cleanclip.vocabulary.errors import DatasetRejected
from sanitizer.data.pairs import open_pairs, refuse_equal_captions
from sanitizer.data.skipping import BadSample
from tests.fixtures.shards import good_pair, make_labelled, make_pairs, pair_samples, write_tar


def code(path: Path) -> str:
    with pytest.raises(DatasetRejected) as caught:
        open_pairs(path)
    assert caught.value.remedy
    return caught.value.code


def test_pairs_come_back_in_order_with_their_pixels(tmp_path: Path) -> None:
    pairs = open_pairs(make_pairs(tmp_path, 25, shard_size=10))
    assert (len(pairs), pairs.num_shards) == (25, 3)
    for index, (image, caption) in enumerate(pair_samples(25)):
        pair = pairs.read(index)
        assert pair.caption == caption
        assert np.array_equal(np.asarray(pair.image), np.asarray(image))
    assert pairs.read(7).key == "00000007"


def test_one_shard_alone_is_a_data_set(tmp_path: Path) -> None:
    make_pairs(tmp_path, 25, shard_size=10)
    assert len(open_pairs(tmp_path / "pairs-00001.tar")) == 10


def test_the_digest_is_over_names_and_digests_in_order(tmp_path: Path) -> None:
    shards = sorted(make_pairs(tmp_path, 25, shard_size=10).iterdir())
    lines = [
        shard.name.encode() + b"\0" + hashlib.sha256(shard.read_bytes()).hexdigest().encode() + b"\n"
        for shard in shards
    ]
    assert open_pairs(tmp_path).sha256 == hashlib.sha256(b"".join(lines)).hexdigest()
    shards[0].rename(tmp_path / "x.tar")
    assert open_pairs(tmp_path).sha256 != hashlib.sha256(b"".join(lines)).hexdigest()


def test_a_bad_pair_raises_and_its_neighbours_do_not(tmp_path: Path) -> None:
    members = [*good_pair("a"), ("b.jpg", b"no picture"), ("b.txt", b"x"), *good_pair("c", caption=" ")]
    pairs = open_pairs(write_tar(tmp_path / "s.tar", [*members, *good_pair("d")]))
    assert pairs.read(0).key == "a"
    for index, reason in ((1, "image_damaged"), (2, "empty_caption")):
        with pytest.raises(BadSample) as caught:
            pairs.read(index)
        assert caught.value.reason == reason
    assert pairs.read(3).key == "d"


def test_what_cannot_be_opened_is_refused_with_its_code(tmp_path: Path) -> None:
    assert code(tmp_path / "nowhere") == "not_found"
    assert code(tmp_path) == "bad_folder"
    assert code(write_tar(tmp_path / "empty" / "s.tar", [])) == "empty_dataset"
    (tmp_path / "text.tar").write_text("hello")
    assert code(tmp_path / "text.tar") == "not_a_shard"
    for name in ("a.tar.gz", "a.tgz"):
        (tmp_path / name[-3:]).mkdir()
        (tmp_path / name[-3:] / name).write_bytes(b"x")
        assert code(tmp_path / name[-3:]) == "compressed_shard"


def test_pairs_with_one_caption_for_all_are_refused_and_one_other_is_enough(tmp_path: Path) -> None:
    same = [member for seed in range(5) for member in good_pair(f"{seed}", seed, "a dog")]
    broken = [("x.png", b"no picture"), ("x.txt", b" ")]
    with pytest.raises(DatasetRejected, match="All 5 pairs have the same caption") as caught:
        refuse_equal_captions(open_pairs(write_tar(tmp_path / "same.tar", [*same, *broken])))
    assert caught.value.code == "captions_all_equal"
    refuse_equal_captions(open_pairs(write_tar(tmp_path / "x.tar", [*same, *good_pair("z", 9, "a cat")])))
    refuse_equal_captions(open_pairs(write_tar(tmp_path / "one.tar", good_pair("z"))))


@pytest.mark.parametrize("other", ["A Dog", "a  dog", "A &#100;og"])
def test_captions_that_clips_tokenizer_reads_alike_are_the_same(tmp_path: Path, other: str) -> None:
    pairs = open_pairs(
        write_tar(tmp_path / "x.tar", [*good_pair("a", 1, "a dog"), *good_pair("b", 2, other)])
    )
    with pytest.raises(DatasetRejected, match="as the model reads them"):
        refuse_equal_captions(pairs)


def test_labelled_shards_given_as_pairs_have_no_captions(tmp_path: Path) -> None:
    assert code(make_labelled(tmp_path, 5)) == "no_captions"
