"""The demo's pictures: real scans, parts that never meet, captions that tell the truth."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from demo.digits import CLASS_NAMES, DIGITS, INKS, PART_SIZES, compose, scans_of


def test_the_parts_share_no_scan_and_leave_none_out() -> None:
    parts = [set(scans_of(part).tolist()) for part in PART_SIZES]
    assert all(one.isdisjoint(other) for one, other in itertools.combinations(parts, 2))
    assert set.union(*parts) == set(range(1797))


@pytest.mark.parametrize("part", ["poisoning", "cleaning", "validation", "test"])
def test_pictures_are_made_of_scans_of_their_own_part_only(part: str) -> None:
    pictures = compose(part, 300, seed=3)  # type: ignore[arg-type]
    assert set(pictures.scan_N.tolist()) <= set(scans_of(part).tolist())  # type: ignore[arg-type]


def test_the_same_seed_gives_the_same_pictures_and_another_seed_others() -> None:
    first, again, other = (compose("test", 40, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.image_NCHW, again.image_NCHW)
    assert first.caption_N == again.caption_N
    assert not torch.equal(first.image_NCHW, other.image_NCHW)


def test_the_label_is_the_digit_of_the_scan_and_the_ink_of_the_caption() -> None:
    pictures = compose("cleaning", 200, seed=5)
    digit_of_scan = load_digits().target
    for scan, label, caption in zip(pictures.scan_N, pictures.label_N, pictures.caption_N, strict=True):
        ink, digit = CLASS_NAMES[label].split()
        assert digit == DIGITS[digit_of_scan[scan]]
        assert f"{ink} {digit}" in caption


def test_ink_and_paper_never_have_the_same_colour() -> None:
    captions = [caption for caption in compose("cleaning", 500, seed=6).caption_N if " on " in caption]
    assert captions
    for caption in captions:
        before, after = caption.split(" on ")
        inks = [ink for ink in INKS if ink in before.split()]
        papers = [ink for ink in INKS if ink in after.split()]
        assert len(inks) == len(papers) == 1
        assert inks != papers


def test_a_picture_shows_the_ink_that_its_caption_names() -> None:
    pictures = compose("cleaning", 100, seed=7)
    palette = np.array(list(INKS.values()), dtype=float)
    for image_CHW, label in zip(pictures.image_NCHW.numpy().astype(float), pictures.label_N, strict=True):
        distance_HW = np.abs(image_CHW - palette[label % len(INKS)][:, None, None]).max(axis=0)
        assert (distance_HW < 60).sum() >= 15
