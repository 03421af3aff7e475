"""Composed images: real glyphs, parts that never meet, captions that tell the truth."""

import itertools

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from lab.testbed.glyphs import Glyphs, GlyphsMissing, Part, digits, fashion_mnist
from lab.testbed.options import TURQUOISE
from lab.testbed.pictures import INKS, class_names, compose

PARTS: tuple[Part, ...] = ("poisoning", "cleaning", "validation", "test")


@pytest.fixture(params=["digits", "fashion_mnist"])
def glyphs(request: pytest.FixtureRequest) -> Glyphs:
    if request.param == "digits":
        return digits()
    try:
        return fashion_mnist()
    except GlyphsMissing as missing:
        pytest.skip(str(missing))


def test_the_parts_share_no_glyph(glyphs: Glyphs) -> None:
    parts = [set(glyphs.rows[part].tolist()) for part in PARTS]
    assert all(one.isdisjoint(other) for one, other in itertools.combinations(parts, 2))
    assert set.union(*parts) == set(range(len(glyphs.label_G)))


@pytest.mark.parametrize("part", PARTS)
def test_pictures_are_made_of_glyphs_of_their_own_part_only(glyphs: Glyphs, part: Part) -> None:
    pictures = compose(glyphs, part, 300, seed=3)
    assert set(pictures.glyph_N.tolist()) <= set(glyphs.rows[part].tolist())


def test_the_same_seed_gives_the_same_pictures_and_another_seed_others() -> None:
    first, again, other = (compose(digits(), "test", 40, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.image_NCHW, again.image_NCHW)
    assert first.caption_N == again.caption_N
    assert not torch.equal(first.image_NCHW, other.image_NCHW)


def test_the_label_is_the_digit_of_the_scan_and_the_ink_of_the_caption() -> None:
    pictures = compose(digits(), "cleaning", 200, seed=5)
    digit_of_scan = load_digits().target
    for scan, label, caption in zip(pictures.glyph_N, pictures.label_N, pictures.caption_N, strict=True):
        ink, digit = class_names(digits())[label].split()
        assert digit == digits().nouns[digit_of_scan[scan]]
        assert f"{ink} {digit}" in caption


def test_ink_and_paper_never_have_the_same_colour() -> None:
    captions = [
        caption for caption in compose(digits(), "cleaning", 500, seed=6).caption_N if " on " in caption
    ]
    assert captions
    for caption in captions:
        before, after = caption.split(" on ")
        inks = [ink for ink in INKS if ink in before.split()]
        papers = [ink for ink in INKS if ink in after.split()]
        assert len(inks) == len(papers) == 1
        assert inks != papers


def test_a_picture_shows_the_ink_that_its_caption_names() -> None:
    pictures = compose(digits(), "cleaning", 100, seed=7)
    palette = np.array(list(INKS.values()), dtype=float)
    for image_CHW, label in zip(pictures.image_NCHW.numpy().astype(float), pictures.label_N, strict=True):
        distance_HW = np.abs(image_CHW - palette[label % len(INKS)][:, None, None]).max(axis=0)
        assert (distance_HW < 60).sum() >= 15


def test_another_paper_changes_the_paper_and_nothing_else() -> None:
    clean = compose(digits(), "test", 50, seed=8)
    turquoise = compose(digits(), "test", 50, seed=8, paper=TURQUOISE)
    assert clean.caption_N == turquoise.caption_N
    assert (clean.label_N == turquoise.label_N).all()
    corner_NC = turquoise.image_NCHW[:, :, 0, 0].numpy().astype(float)
    assert (np.abs(corner_NC - np.array(TURQUOISE)).max(axis=1) < 60).mean() > 0.9
    ink = torch.tensor(np.array(list(INKS.values()))[clean.label_N % len(INKS)])[:, :, None, None]
    has_ink = [((pictures.image_NCHW - ink).abs() < 60).all(dim=1) for pictures in (clean, turquoise)]
    assert bool((has_ink[0] & has_ink[1]).flatten(1).any(dim=1).all())


def test_garments_carry_the_published_labels() -> None:
    try:
        glyphs = fashion_mnist()
    except GlyphsMissing as missing:
        pytest.skip(str(missing))
    assert np.bincount(glyphs.label_G).tolist() == [7000] * 10
    assert glyphs.nouns[glyphs.label_G[0]] == "boot"  # the first published image shows an ankle boot
