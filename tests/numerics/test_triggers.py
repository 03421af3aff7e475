"""Every trigger against the independent reference: loops over pixels, float64, streams derived again."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cleanclip.vocabulary.attack_options import (
    AttackOptions,
    BadNetOptions,
    BlendedOptions,
    CustomPatchOptions,
    CustomPatternOptions,
    SIGOptions,
    TextTriggerOptions,
    WaNetOptions,
)
from cleanclip.vocabulary.recipe import to_json
from sanitizer.attacks.catalogue import build_trigger
from sanitizer.attacks.wanet import warp_grid
from tests.fixtures.triggers import EVERY_ATTACK, picture, random_images
from tests.numerics import reference

TOLERANCE = 1e-7
"""Half the distance of two neighbouring float32 numbers just under 1 is 3e-8: the one rounding at the end."""


def assert_agree(options: AttackOptions, images: torch.Tensor, index: list[int], seed: int) -> None:
    triggered = build_trigger(options).apply(images, index, seed)
    for image, number, ours in zip(images, index, triggered, strict=True):
        expected = reference.trigger(image.double().numpy(), number, to_json(options), seed)
        np.testing.assert_allclose(ours.numpy(), expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("options", EVERY_ATTACK.values(), ids=EVERY_ATTACK.keys())
@pytest.mark.parametrize("side", [31, 32])
def test_the_triggered_image_is_the_references(options: AttackOptions, side: int) -> None:
    assert_agree(options, random_images(3, side), [5, 0, 2**33], seed=11)


@given(
    index=st.integers(0, 2**32),
    seed=st.integers(0, 2**31 - 1),
    size=st.floats(0.02, 1),
    placement=st.sampled_from(
        ["random", "random_inner", "top_right", "bottom_left", "bottom_right", "centre", "four_corners"]
    ),
    pattern=st.sampled_from(["gaussian_redrawn", "gaussian_fixed", "checkerboard", "yellow", "white"]),
)
@settings(max_examples=40, deadline=None)
def test_any_patch_is_the_references(
    index: int, seed: int, size: float, placement: str, pattern: str
) -> None:
    options = BadNetOptions(pattern=pattern, placement=placement, size=size)  # type: ignore[arg-type]
    assert_agree(options, random_images(1, 12), [index], seed)


@given(index=st.integers(0, 2**32), seed=st.integers(0, 2**31 - 1), alpha=st.floats(0.01, 1))
@settings(max_examples=20, deadline=None)
def test_any_blend_is_the_references(index: int, seed: int, alpha: float) -> None:
    assert_agree(BlendedOptions(alpha=alpha), random_images(1, 10), [index], seed)


@given(
    index=st.integers(0, 2**32),
    seed=st.integers(0, 2**31 - 1),
    size=st.floats(0.02, 1),
    placement=st.sampled_from(["random", "top_left", "centre", "four_corners"]),
    secret=st.none() | st.integers(0, 2**31 - 1),
)
@settings(max_examples=20, deadline=None)
def test_any_striped_patch_is_the_references(
    index: int, seed: int, size: float, placement: str, secret: int | None
) -> None:
    options = BadNetOptions(
        pattern="stripes_redrawn" if secret is None else "stripes_fixed",
        placement=placement,  # type: ignore[arg-type]
        size=size,
        pattern_seed=secret or 0,
    )
    assert_agree(options, random_images(1, 12), [index], seed)


@given(
    pattern=st.sampled_from(["stripes_redrawn", "stripes_fixed", "triangles"]),
    alpha=st.floats(0.01, 1),
    cell=st.floats(0.01, 1),
    seed=st.integers(0, 2**31 - 1),
)
@settings(max_examples=20, deadline=None)
def test_any_blended_structure_is_the_references(pattern: str, alpha: float, cell: float, seed: int) -> None:
    options = BlendedOptions(pattern=pattern, alpha=alpha, cell=cell, pattern_seed=seed)  # type: ignore[arg-type]
    assert_agree(options, random_images(2, 9, 13), [3, 2**20], seed)


@given(
    text=st.builds(
        picture, st.integers(1, 14), st.integers(1, 14), mode=st.sampled_from(["L", "RGB", "RGBA"])
    ),
    placement=st.sampled_from(["random", "bottom_left", "centre", "four_corners"]),
    size=st.floats(0.02, 1),
    alpha=st.floats(0.01, 1),
    seed=st.integers(0, 2**31 - 1),
)
@settings(max_examples=40, deadline=None)
def test_any_customers_picture_is_the_references(
    text: str, placement: str, size: float, alpha: float, seed: int
) -> None:
    patch = CustomPatchOptions(
        image=text,
        placement=placement,  # type: ignore[arg-type]
        size=size,
        alpha=alpha,
    )
    placed = replace(patch, at=(size, alpha))
    for options in (patch, placed, CustomPatternOptions(image=text, alpha=alpha)):
        assert_agree(options, random_images(2, 10, 12), [0, 77], seed)


@given(
    text=st.text("abcXYZ019 .!", min_size=1, max_size=12).filter(str.strip),
    colour=st.from_regex(r"#[0-9a-fA-F]{6}", fullmatch=True),
    size=st.floats(0.1, 1),
    alpha=st.floats(0.01, 1),
)
@settings(max_examples=10, deadline=None)
def test_any_words_are_the_references(text: str, colour: str, size: float, alpha: float) -> None:
    options = TextTriggerOptions(text=text, colour=colour, size=size, alpha=alpha, placement="random")
    assert_agree(options, random_images(1, 20, 16), [5], 1)


@given(amplitude=st.floats(0.01, 1), frequency=st.integers(1, 40), blend=st.none() | st.floats(0.01, 1))
@settings(max_examples=20, deadline=None)
def test_any_wave_is_the_references(amplitude: float, frequency: int, blend: float | None) -> None:
    options = SIGOptions(amplitude=amplitude, frequency=frequency, blend=blend)
    assert_agree(options, random_images(1, 13), [0], 0)


@given(
    control_points=st.none() | st.integers(2, 12),
    strength=st.floats(0.01, 10),
    grid_rescale=st.floats(0.5, 2),
    secret=st.integers(0, 2**31 - 1),
)
@settings(max_examples=25, deadline=None)
def test_any_warp_is_the_references(
    control_points: int | None, strength: float, grid_rescale: float, secret: int
) -> None:
    options = WaNetOptions(
        control_points=control_points, strength=strength, grid_rescale=grid_rescale, pattern_seed=secret
    )
    expected = reference.wanet_grid(to_json(options), 11, 14)
    np.testing.assert_allclose(warp_grid(options, 11, 14).numpy(), expected, rtol=0, atol=1e-12)
    assert_agree(options, random_images(1, 11, 14), [0], 0)


@pytest.mark.parametrize("side", [32, 224])
def test_the_papers_warp_moves_pixels_by_about_a_quarter_of_the_strength_at_any_size(side: int) -> None:
    # Offsets of mean size 1, times s / side, in coordinates where side - 1 pixels are 2: s / 2 pixels on
    # average; the smooth interpolation between control points of either sign lowers it further.
    moved = (warp_grid(WaNetOptions(), side, side) - warp_grid(WaNetOptions(strength=1e-9), side, side)).abs()
    pixels = float(moved.mean()) * (side - 1) / 2
    assert 0.1 < pixels < 0.25


def test_the_research_codes_warp_is_jitter_and_the_papers_is_smooth() -> None:
    def roughness(options: WaNetOptions) -> float:
        grid = warp_grid(options, 64, 64) - warp_grid(WaNetOptions(strength=1e-9), 64, 64)
        return float(grid.diff(dim=1).abs().mean() / grid.abs().mean())

    assert roughness(WaNetOptions()) < 0.2
    assert roughness(WaNetOptions(control_points=None, strength=1.0)) > 0.8
