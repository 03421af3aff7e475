"""What every trigger promises, whatever its idea."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cleanclip.vocabulary.attack_options import (
    AttackOptions,
    BadNetOptions,
    BlendedOptions,
    LabelConsistentOptions,
    WaNetOptions,
)
from sanitizer.attacks.catalogue import build_trigger
from tests.fixtures.triggers import EVERY_ATTACK, random_images

SEEDED = {
    name: options
    for name, options in EVERY_ATTACK.items()
    if getattr(options, "pattern", "").endswith("redrawn") or getattr(options, "placement", "") == "random"
}


def test_an_image_gets_the_same_trigger_in_whatever_batch_it_comes(options: AttackOptions) -> None:
    trigger, images = build_trigger(options), random_images(6, 32)
    index = [3, 14, 15, 92, 65, 35]
    together = trigger.apply(images, index, 7)
    shuffled = trigger.apply(images[[4, 0, 2]], [65, 3, 15], 7)
    alone = torch.cat([trigger.apply(images[n : n + 1], [index[n]], 7) for n in range(6)])
    assert torch.equal(together, alone)
    assert torch.equal(together[[4, 0, 2]], shuffled)


def test_a_trigger_changes_every_image_and_leaves_its_input_alone(options: AttackOptions) -> None:
    images = random_images(4, 32)
    before = images.clone()
    triggered = build_trigger(options).apply(images, range(4), 0)
    assert torch.equal(images, before)
    assert triggered.data_ptr() != images.data_ptr()
    assert all(not torch.equal(one, other) for one, other in zip(triggered, images, strict=True))


@pytest.mark.parametrize("side", [32, 64, 224, 225])
def test_pixels_stay_in_range_at_any_size(options: AttackOptions, side: int) -> None:
    images = random_images(2, side)
    triggered = build_trigger(options).apply(images, [0, 1], 0)
    assert triggered.shape == images.shape
    assert triggered.dtype == torch.float32
    assert triggered.min() >= 0
    assert triggered.max() <= 1


def test_a_picture_that_is_not_square_is_triggered_too(options: AttackOptions) -> None:
    images = random_images(2, 24, 40)
    assert build_trigger(options).apply(images, [0, 1], 0).shape == images.shape


def test_an_empty_batch_gives_an_empty_batch(options: AttackOptions) -> None:
    assert build_trigger(options).apply(torch.zeros(0, 3, 16, 16), [], 0).shape == (0, 3, 16, 16)


@pytest.mark.parametrize("options", SEEDED.values(), ids=SEEDED.keys())
def test_another_seed_or_another_index_gives_another_trigger(options: AttackOptions) -> None:
    trigger, images = build_trigger(options), random_images(8, 64)
    first = trigger.apply(images, range(8), 1)
    assert torch.equal(first, trigger.apply(images, range(8), 1))
    assert not torch.equal(first, trigger.apply(images, range(8), 2))
    assert not torch.equal(first, trigger.apply(images, range(8, 16), 1))


@pytest.mark.parametrize(
    "kind",
    [BadNetOptions, BlendedOptions, LabelConsistentOptions],
    ids=["badnet", "blended", "label_consistent"],
)
def test_another_pattern_seed_gives_another_fixed_pattern(kind: type) -> None:
    pattern = "uniform_fixed" if kind is BlendedOptions else "gaussian_fixed"
    images = random_images(1, 64)
    one, other = (
        build_trigger(kind(pattern=pattern, pattern_seed=secret)).apply(images, [0], 5) for secret in (1, 2)
    )
    assert not torch.equal(one, other)


def test_the_warp_depends_on_the_attackers_secret_and_on_nothing_else() -> None:
    images = random_images(1, 32)
    warped = build_trigger(WaNetOptions(pattern_seed=1)).apply(images, [0], 5)
    assert torch.equal(warped, build_trigger(WaNetOptions(pattern_seed=1)).apply(images, [9], 6))
    assert not torch.equal(warped, build_trigger(WaNetOptions(pattern_seed=2)).apply(images, [0], 5))


@pytest.mark.parametrize(
    ("side", "share", "expected"),
    [(224, 16 / 224, 16), (32, 5 / 32, 5), (32, 16 / 224, 2), (8, 0.01, 1), (8, 1.0, 8)],
)
def test_the_patch_scales_with_the_image_and_never_vanishes(side: int, share: float, expected: int) -> None:
    black = torch.zeros(1, 3, side, side)
    patched = build_trigger(BadNetOptions(pattern="white", placement="centre", size=share)).apply(
        black, [0], 0
    )
    assert int(patched[0, 0].sum()) == expected * expected


@given(
    index=st.integers(0, 2**40),
    seed=st.integers(0, 2**31 - 1),
    side=st.integers(1, 40),
    share=st.floats(0.01, 1),
)
@settings(max_examples=60, deadline=None)
def test_a_patch_at_a_random_place_lies_wholly_inside(index: int, seed: int, side: int, share: float) -> None:
    black = torch.zeros(1, 3, side, side)
    patched = build_trigger(BadNetOptions(pattern="white", size=share)).apply(black, [index], seed)
    assert int(patched[0, 0].sum()) == max(1, round(share * side)) ** 2


def test_every_place_is_reached_the_last_row_and_column_too() -> None:
    trigger = build_trigger(BadNetOptions(pattern="white", size=0.5))
    patched = trigger.apply(torch.zeros(400, 3, 4, 4), range(400), 0)
    corners = {tuple(one[0].nonzero()[0].tolist()) for one in patched}
    assert corners == {(row, column) for row in range(3) for column in range(3)}


def test_a_fixed_pattern_is_the_same_on_images_with_the_same_mean() -> None:
    trigger = build_trigger(BadNetOptions(pattern="gaussian_fixed", placement="top_left", size=0.25))
    grey = torch.full((2, 3, 32, 32), 0.5)
    grey[1, :, 16:, 16:] = torch.tensor([0.25, 0.75]).repeat(8)  # the same mean, other pixels
    one, other = trigger.apply(grey, [0, 1], 3)
    assert torch.allclose(one[:, :8, :8], other[:, :8, :8], atol=1e-6)


@pytest.mark.parametrize(
    ("images", "index"),
    [
        (torch.zeros(2, 1, 8, 8), [0, 1]),
        (torch.zeros(3, 8, 8), [0, 1, 2]),
        (torch.zeros(2, 3, 8, 8), [0]),
        (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), [0, 1]),
    ],
    ids=["grey", "no batch", "an index missing", "bytes"],
)
def test_what_is_no_rgb_batch_with_its_indices_is_refused(
    options: AttackOptions, images: torch.Tensor, index: list[int]
) -> None:
    with pytest.raises(ValueError, match=r"expected|images but"):
        build_trigger(options).apply(images, index, 0)
