"""Twelve samples to look at: from the whole set, each as likely as any other, small, never a broken one."""

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cleanclip.vocabulary.jobspec import DRAWN_ADAPTER, DRAWN_NAME, NUM_DRAWN, DrawnSample
from sanitizer.data.draw import STREAM, SampleDraw
from sanitizer.data.pairs import Pair, PairDataset, open_pairs
from sanitizer.data.validation import summarise
from sanitizer.pipeline.validating import validate
from sanitizer.seeding import generator
from tests.fixtures.hostile_images import IMAGES
from tests.fixtures.shards import good_pair, jpeg, make_labelled, make_pairs, random_image, write_tar

PIXEL = Image.new("RGB", (1, 1))


@pytest.fixture
def nothing(tmp_path: Path) -> PairDataset:
    """A set that is only named: what is drawn of it comes from the test."""
    return open_pairs(make_pairs(tmp_path, 1))


def drawn_of(num_samples: int, seed: int, dataset: PairDataset) -> list[int]:
    draw = SampleDraw(seed)
    for index in range(num_samples):
        draw.offer(index, Pair(key=str(index), image=PIXEL, caption="a dot"), dataset)
    return [sample.index for sample in draw.drawn().samples]


def shown(path: Path, kind: str = "pairs", share: float = 0.0, seed: int = 0) -> tuple[DrawnSample, ...]:
    draw = SampleDraw(seed)
    summarise(path, kind, share, draw=draw)  # type: ignore[arg-type]
    return draw.drawn().samples


def test_the_draw_is_the_stated_one(nothing: PairDataset) -> None:
    draws = generator(5, STREAM)
    expected = list(range(NUM_DRAWN))
    for index in range(NUM_DRAWN, 100):
        place = int(draws.integers(index + 1))
        if place < NUM_DRAWN:
            expected[place] = index
    assert drawn_of(100, 5, nothing) == sorted(expected)


def test_the_same_seed_draws_the_same_and_another_one_others(nothing: PairDataset) -> None:
    assert drawn_of(1000, 1, nothing) == drawn_of(1000, 1, nothing)
    assert drawn_of(1000, 1, nothing) != drawn_of(1000, 2, nothing)


def test_every_place_of_the_set_is_as_likely_as_any_other(nothing: PairDataset) -> None:
    num_samples, num_seeds = 60, 3000
    counts = np.zeros(num_samples)
    for seed in range(num_seeds):
        counts[drawn_of(num_samples, seed, nothing)] += 1
    share = NUM_DRAWN / num_samples
    expected = num_seeds * share
    # There are always twelve, so counts are not independent: with the last factor the sum of squares has a
    # chi-squared distribution of so many degrees of freedom.
    freedom = num_samples - 1
    statistic = ((counts - expected) ** 2).sum() / (expected * (1 - share)) * freedom / num_samples
    assert abs(statistic - freedom) < 4 * math.sqrt(2 * freedom)


def test_of_fewer_than_twelve_all_are_shown(nothing: PairDataset) -> None:
    assert drawn_of(5, 0, nothing) == [0, 1, 2, 3, 4]


def test_they_come_from_the_whole_set_in_its_order_with_their_own_captions(tmp_path: Path) -> None:
    samples = shown(make_pairs(tmp_path, 60))
    indices = [sample.index for sample in samples]
    assert len(samples) == NUM_DRAWN
    assert indices == sorted(indices)
    assert max(indices) >= NUM_DRAWN, "not the first twelve"
    pairs = open_pairs(tmp_path)
    for sample in samples:
        pair = pairs.read(sample.index)
        assert (sample.key, sample.caption) == (pair.key, pair.caption)
        assert sample.rgb == pair.image.tobytes(), "small images are shown pixel by pixel"
        assert (sample.label, sample.class_name) == (None, None)


def test_labelled_images_carry_their_class(tmp_path: Path) -> None:
    for sample in shown(make_labelled(tmp_path, 30), "labelled"):
        assert sample.label == sample.index % 3
        assert sample.class_name == ("cat", "dog", "tree")[sample.label]
        assert sample.caption is None


@pytest.mark.parametrize(
    ("size", "small"),
    [
        ((1600, 400), (160, 40)),
        ((33, 3000), (2, 160)),
        ((16000, 160), (160, 2)),
        ((3, 300), (2, 160)),
        ((160, 160), (160, 160)),
        ((161, 7), (160, 7)),
        ((20, 10), (20, 10)),
    ],
)
def test_pictures_are_made_small_in_proportion_and_never_larger(
    tmp_path: Path, size: tuple[int, int], small: tuple[int, int]
) -> None:
    members = [("a.jpg", jpeg(random_image(1, *size))), ("a.txt", b"a long one"), *good_pair("z")]
    sample = shown(write_tar(tmp_path / "s.tar", members))[0]
    assert (sample.width, sample.height) == small
    assert len(sample.rgb) == small[0] * small[1] * 3


def test_a_small_picture_shows_what_the_large_one_shows(tmp_path: Path) -> None:
    image = Image.new("RGB", (800, 400), (200, 30, 30))
    image.paste((30, 30, 200), (400, 0, 800, 400))
    members = [("a.png", jpeg(image, quality=95)), ("a.txt", b"red beside blue"), *good_pair("z")]
    sample = shown(write_tar(tmp_path / "s.tar", members))[0]
    pixels = np.frombuffer(sample.rgb, np.uint8).reshape(sample.height, sample.width, 3).astype(int)
    assert np.abs(pixels[:, :70] - (200, 30, 30)).max() < 8
    assert np.abs(pixels[:, 90:] - (30, 30, 200)).max() < 8


@pytest.mark.parametrize("name", sorted(name for name, one in IMAGES.items() if one.reason is not None))
def test_a_broken_picture_is_never_shown(tmp_path: Path, name: str) -> None:
    members = [*good_pair("a", 1), ("bad.jpg", IMAGES[name].make()), ("bad.txt", b"bad"), *good_pair("z", 2)]
    samples = shown(write_tar(tmp_path / "s.tar", members), share=0.9)
    assert [sample.key for sample in samples] == ["a", "z"]


def test_a_long_caption_is_cut_and_says_so(tmp_path: Path) -> None:
    members = [*good_pair("a", 1, "x" * 5000), *good_pair("b", 2, "y" * 300)]
    first, second = shown(write_tar(tmp_path / "s.tar", members))
    assert first.caption == "x" * 300 + "…"
    assert second.caption == "y" * 300


def test_they_lie_beside_the_summary_where_a_seed_was_given_and_only_there(tmp_path: Path) -> None:
    data = make_pairs(tmp_path / "data", 20)
    validate(data, "pairs", tmp_path / "with", max_skipped_share=0.0, draw_seed=3)
    found = DRAWN_ADAPTER.validate_json((tmp_path / "with" / DRAWN_NAME).read_bytes())
    assert found.seed == 3
    assert found.samples == shown(data, seed=3)
    validate(data, "pairs", tmp_path / "without", max_skipped_share=0.0)
    assert not (tmp_path / "without" / DRAWN_NAME).exists()
