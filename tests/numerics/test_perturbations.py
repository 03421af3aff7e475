"""Every family of universal perturbations against plain loops and finite differences, in float64."""

import math

import pytest
import torch

from sanitizer.perturbations.additive import Additive, LowFrequency
from sanitizer.perturbations.collapse import CollapseOptions, collapse, invert
from sanitizer.perturbations.families import Blend, Colour, Family, Patch, Warp
from sanitizer.perturbations.patterns import NO_PATTERN, Pattern, apply_patterns, drawn
from sanitizer.seeding import generator

SIZE = 9
FAMILIES = [
    *(
        Patch(1),
        Patch(4),
        Patch(SIZE),
        Patch(4, (0.2, 0.9)),
        Blend(0.12),
        Blend(1.0),
        Warp(0.07),
        Warp(0.1, 2),
    ),
    *(Colour(0.2), Additive(0.03), LowFrequency(0.04, 5)),
]


def numbers(name: str, *shape: int) -> torch.Tensor:
    return torch.from_numpy(0.1 + 0.8 * generator(1, name).random(shape))


def inputs(family: Family, num_images: int = 3) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    images = numbers("images", num_images, 3, SIZE, SIZE)
    values = numbers("values", num_images, *family.shape(SIZE))
    return images, values, torch.from_numpy(generator(1, "places").random((num_images, 2)))


@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_gradients_are_what_finite_differences_say(family: Family) -> None:
    images, values, places = inputs(family)
    images.requires_grad_()
    values.requires_grad_()
    assert torch.autograd.gradcheck(lambda x, p: family.apply(x, p, places), (images, values))


@pytest.mark.parametrize("side", [1, 4, SIZE])
def test_a_patch_equals_the_loops(side: int) -> None:
    images, values, places = inputs(Patch(side))
    ours = Patch(side).apply(images, values, places)
    for n in range(len(images)):
        top, left = (math.floor(places[n, axis].item() * (SIZE - side + 1)) for axis in (0, 1))
        expected = images[n].clone()
        for channel in range(3):
            for row in range(side):
                for column in range(side):
                    expected[channel, top + row, left + column] = values[n, channel, row, column]
        assert torch.equal(ours[n], expected)


def test_a_patch_may_stand_at_every_place_and_nowhere_else() -> None:
    family, num_images = Patch(7), 400
    places = torch.from_numpy(generator(1, "places").random((num_images, 2)))
    changed = family.apply(torch.zeros(num_images, 3, SIZE, SIZE), torch.ones(num_images, 3, 7, 7), places)
    assert (changed.sum(dim=(1, 2, 3)) == 3 * 49).all()
    corners = {tuple(image[0].nonzero()[0].tolist()) for image in changed}
    assert corners == {(row, column) for row in range(3) for column in range(3)}


def test_a_place_that_rounds_up_to_the_whole_side_still_fits() -> None:
    almost_one = torch.tensor([[1 - 2**-53, 1.0]], dtype=torch.float64)
    changed = Patch(4).apply(torch.zeros(1, 3, SIZE, SIZE), torch.ones(1, 3, 4, 4), almost_one)
    assert changed[0, 0, -4:, -4:].sum() == 16


def test_a_blend_and_a_colour_equal_the_loops() -> None:
    images, values, places = inputs(Blend(0.12))
    blended = Blend(0.12).apply(images, values, places)
    assert torch.allclose(blended, 0.88 * images + 0.12 * values, rtol=0, atol=1e-15)
    images, values, places = inputs(Colour(0.9))
    coloured = Colour(0.9).apply(images, values, places)
    seen = set()
    for n in range(len(images)):
        for row in range(SIZE):
            for column in range(SIZE):
                for channel in range(3):
                    whole = 0.9 * (2 * values[n, channel, 3].item() - 1)
                    for other in range(3):
                        factor = (channel == other) + 0.9 * (2 * values[n, channel, other].item() - 1)
                        whole += factor * images[n, other, row, column].item()
                    seen.add((whole < 0, whole > 1))
                    expected = min(1.0, max(0.0, whole))
                    assert coloured[n, channel, row, column].item() == pytest.approx(expected, abs=1e-12)
    assert len(seen) == 3, "some were clipped at either end"


def test_what_is_added_equals_the_loops_and_stays_in_its_budget() -> None:
    images, values, places = inputs(Additive(0.3))
    added = Additive(0.3).apply(images, values, places)
    expected = [
        min(1.0, max(0.0, x + 0.3 * (2 * p - 1)))
        for x, p in zip(images.flatten().tolist(), values.flatten().tolist(), strict=True)
    ]
    assert added.flatten().tolist() == pytest.approx(expected, abs=1e-15)
    family = LowFrequency(0.1, 4)
    images, values, places = inputs(family)
    smooth = family.apply(images, values, places)
    for n in range(len(images)):
        for row in range(SIZE):
            for column in range(SIZE):
                wave = sum(
                    (2 * values[n, 1, u, v].item() - 1)
                    * math.cos(math.pi * (row + 0.5) * u / SIZE)
                    * math.cos(math.pi * (column + 0.5) * v / SIZE)
                    for u in range(4)
                    for v in range(4)
                )
                whole = images[n, 1, row, column].item() + 0.1 * math.tanh(2 * wave)
                assert smooth[n, 1, row, column].item() == pytest.approx(min(1.0, max(0.0, whole)), abs=1e-12)
    assert (smooth - images).abs().max() <= 0.1 + 1e-12


def test_a_patch_at_one_place_is_there_in_every_image() -> None:
    images, values, places = inputs(Patch(4))
    ours = Patch(4, (0.2, 0.9)).apply(images, values, places)
    same = torch.tensor([[0.2, 0.9]], dtype=torch.float64).expand(len(images), 2)
    assert torch.equal(ours, Patch(4).apply(images, values, same))


def test_a_warp_without_displacement_is_the_image_and_a_constant_one_moves_it() -> None:
    images, values, places = inputs(Warp(0.25, 3))
    assert torch.allclose(Warp(0.25, 3).apply(images, torch.full_like(values, 0.5), places), images)
    down = torch.full_like(values, 0.5)
    down[:, 0] = 1.0  # by a quarter of the side, whose length is SIZE - 1 steps: two pixels
    moved = Warp(0.25, 3).apply(images, down, places)
    assert torch.allclose(moved[:, :, :-2], images[:, :, 2:])
    assert torch.allclose(moved[:, :, -1], images[:, :, -1]), "outside the image is its border"


def test_rows_are_changed_by_their_own_pattern_and_others_are_left() -> None:
    images = numbers("images", 6, 3, SIZE, SIZE)
    places = torch.from_numpy(generator(1, "places").random((6, 2)))
    families = (Patch(4), Blend(0.2), Patch(4), Warp(0.05))
    patterns = [Pattern(f, numbers(str(n), *f.shape(SIZE)).requires_grad_()) for n, f in enumerate(families)]
    which = [2, NO_PATTERN, 0, 1, 2, NO_PATTERN]
    changed = apply_patterns(images, patterns, which, places)
    for row, number in enumerate(which):
        expected = images[row]
        if number != NO_PATTERN:
            own = patterns[number]
            expected = own.family.apply(images[row : row + 1], own.value[None], places[row : row + 1])[0]
        assert torch.equal(changed[row], expected)
    changed.square().sum().backward()
    assert [pattern.value.grad is not None for pattern in patterns] == [True, True, True, False]


def planted_tower(trigger: torch.Tensor):
    """Embeddings that follow the image, until a blend of `trigger` takes them all to one direction."""
    matrix = torch.from_numpy(generator(1, "matrix").normal(size=(3 * SIZE * SIZE, 8))).float()
    matrix = matrix - matrix.mean(dim=0)
    direction = (trigger - trigger.mean()).reshape(-1).float()

    def embed(image_NCHW: torch.Tensor) -> torch.Tensor:
        flat = image_NCHW.flatten(1) - 0.5
        features = torch.cat([flat @ matrix, 3 * (flat @ direction)[:, None].clamp_min(0)], dim=1)
        return torch.nn.functional.normalize(features, dim=1)

    return embed


def test_the_inversion_finds_the_pattern_that_collapses_a_tower() -> None:
    trigger = torch.from_numpy(generator(2, "trigger").random((3, SIZE, SIZE))).round()
    embed = planted_tower(trigger)
    images = torch.from_numpy(generator(3, "images").integers(0, 256, (64, 3, SIZE, SIZE))).to(torch.uint8)
    families = (Blend(0.5), Blend(0.5))
    steps: list[int] = []
    found = invert(embed, images, families, CollapseOptions(num_steps=30), seed=4, on_step=steps.append)
    start = [drawn(family, SIZE, 4, "collapse_start", number) for number, family in enumerate(families)]
    before, after = (collapse(embed, images, patterns, seed=5) for patterns in (start, found))
    assert max(before) < 0.7
    assert min(after) > 0.95
    assert steps == list(range(1, 31))
    agreement = [((pattern.value > 0.5) == (trigger > 0.5)).float().mean() for pattern in found]
    assert max(agreement) > 0.9, "one restart finds the trigger itself"


def test_an_inversion_is_decided_by_its_seed_and_is_the_same_in_parts() -> None:
    embed = planted_tower(torch.from_numpy(generator(2, "trigger").random((3, SIZE, SIZE))).round())
    images = torch.from_numpy(generator(3, "images").integers(0, 256, (10, 3, SIZE, SIZE))).to(torch.uint8)
    families = (Patch(4), Blend(0.2), Patch(4))

    def values(seed: int, **changes: int) -> list[torch.Tensor]:
        options = CollapseOptions(num_steps=3, **changes)
        return [pattern.value for pattern in invert(embed, images, families, options, seed=seed)]

    first = values(1)
    assert all(map(torch.equal, first, values(1)))
    assert not any(map(torch.equal, first, values(2)))
    for at_once in (16, 8, 3, 1):  # two patterns, one, parts of one
        for ours, theirs in zip(values(1, images_at_once=at_once), first, strict=True):
            assert ((ours - theirs).abs() > 1e-6).float().mean() < 0.01


def test_one_step_of_the_ascent_equals_the_loops() -> None:
    embed = planted_tower(torch.ones(3, SIZE, SIZE))
    images = torch.from_numpy(generator(3, "images").integers(0, 256, (10, 3, SIZE, SIZE))).to(torch.uint8)
    options = CollapseOptions(num_steps=2, images_per_pattern=4, first_step=0.1, last_step=0.02)
    (found,) = invert(embed, images, (Blend(0.3),), options, seed=7)
    value = drawn(Blend(0.3), SIZE, 7, "collapse_start", 0).value
    velocity = torch.zeros_like(value)
    for step, size in enumerate((0.1, 0.02)):
        chosen = generator(7, "collapse_images", step).permutation(10)[:4]
        leaf = value.clone().requires_grad_()
        rows = [embed(0.7 * images[int(index)][None] / 255 + 0.3 * leaf[None])[0] for index in chosen]
        mean = sum(rows) / 4
        gradient = torch.autograd.grad((mean * mean).sum(), leaf)[0]
        velocity = 0.7 * velocity + gradient / gradient.abs().mean()
        value = (value + size * velocity.sign()).clamp(0, 1)
    assert ((found.value - value).abs() > 1e-6).float().mean() < 0.01, "but for signs of what is almost 0"


def test_a_patch_larger_than_the_image_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        Patch(SIZE + 1).shape(SIZE)
