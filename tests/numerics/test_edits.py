"""Every family of edits against loops over pixels, in float64; what strength does; that gradients exist."""

import math

import pytest
import torch
from torch import Tensor

from sanitizer.perturbations.edits import Blur, Cast, Frame, Tint, Tone, Turn, Wave, families
from sanitizer.perturbations.families import Family
from sanitizer.seeding import generator

SIZE = 9


def inputs(family: Family) -> tuple[Tensor, Tensor]:
    draws = generator(1, "edits", family.shape(SIZE)[0])
    images = torch.from_numpy(0.1 + 0.8 * draws.random((3, 3, SIZE, SIZE)))
    return images, torch.from_numpy(draws.random((3, *family.shape(SIZE))))


def number(p: Tensor, least: float, most: float, strength: float, neutral: float = 0.0) -> float:
    return neutral + strength * (least + p.item() * (most - least) - neutral)


def at(image: Tensor, y: float, x: float) -> Tensor:
    """[3]: bilinear between pixels, the border's colour outside."""
    size = image.shape[-1]
    y, x = min(max(y, 0.0), size - 1), min(max(x, 0.0), size - 1)
    top, left = min(int(y), size - 2), min(int(x), size - 2)
    down, right = y - top, x - left
    upper = (1 - right) * image[:, top, left] + right * image[:, top, left + 1]
    lower = (1 - right) * image[:, top + 1, left] + right * image[:, top + 1, left + 1]
    return (1 - down) * upper + down * lower


def plain(family: Family, image: Tensor, p: Tensor) -> Tensor:
    """One pixel after the other, by the words of the module."""
    edited, s = torch.empty_like(image), family.strength  # type: ignore[attr-defined]
    size = image.shape[-1]
    for y in range(size):
        for x in range(size):
            pixel = image[:, y, x]
            match family:
                case Tint():
                    share = number(p[3], 0.1, 0.5, s)
                    new = (1 - share) * pixel + share * p[:3]
                case Cast():
                    share = number(p[3], 0.3, 1.0, s)
                    colour = 0.1 + 0.9 * p[:3]
                    new = pixel * ((1 - share) + share * colour / max(colour))
                case Frame():
                    from_edge = min(y, x, size - 1 - y, size - 1 - x) + 0.5
                    new = p[:3] if from_edge / size < number(p[3], 1 / 32, 5 / 32, s) else pixel
                case Tone():
                    mean = sum(pixel) / 3
                    new = mean + number(p[0], 0.4, 2.0, s, 1.0) * (pixel - mean)
                    new = 0.5 + number(p[1], 0.5, 2.0, s, 1.0) * (new - 0.5) + number(p[2], -0.2, 0.2, s)
                case Wave():
                    angle, phase = 2 * math.pi * p[2], 2 * math.pi * p[3]
                    along = (x * math.cos(angle) + y * math.sin(angle)) / size
                    wave = math.sin(2 * math.pi * (1 + 9 * p[1]) * along + phase)
                    new = pixel + number(p[0], 0.08, 0.3, s) * wave
                case Blur():
                    new = blurred(image, y, x, number(p[0], 0.5, 2.0, s) * size / 32)
                case Turn():
                    angle = number(p[0], -math.pi / 12, math.pi / 12, s)
                    shear, scale = number(p[1], -0.15, 0.15, s), number(p[2], 1 / 1.15, 1 / 0.85, s, 1.0)
                    right, down = x - (size - 1) / 2, y - (size - 1) / 2
                    sheared = right + shear * down
                    turned_x = scale * (math.cos(angle) * sheared - math.sin(angle) * down)
                    turned_y = scale * (math.sin(angle) * sheared + math.cos(angle) * down)
                    new = at(image, turned_y + (size - 1) / 2, turned_x + (size - 1) / 2)
            edited[:, y, x] = torch.as_tensor(new)
    return edited.clamp(0, 1)


def blurred(image: Tensor, y: int, x: int, sigma: float) -> Tensor:
    size = image.shape[-1]
    radius = min(size - 1, math.ceil(2.5 * 2.0 * size / 32))
    total, weights = torch.zeros(3, dtype=image.dtype), 0.0
    for down in range(-radius, radius + 1):
        for right in range(-radius, radius + 1):
            weight = math.exp(-0.5 * (down**2 + right**2) / sigma**2)
            row, column = min(max(y + down, 0), size - 1), min(max(x + right, 0), size - 1)
            total, weights = total + weight * image[:, row, column], weights + weight
    return total / weights


@pytest.mark.parametrize("family", [*families(1.0), *families(0.4)], ids=str)
def test_an_edit_equals_the_loops(family: Family) -> None:
    images, values = inputs(family)
    ours = family.apply(images, values, torch.zeros(3, 2))
    for n in range(len(images)):
        torch.testing.assert_close(ours[n], plain(family, images[n], values[n]), rtol=1e-9, atol=1e-9)


NOT_BLURS = [family for family in families(1e-9) if not isinstance(family, Blur)]
"""A Gaussian of no width is not a number."""


@pytest.mark.parametrize("family", NOT_BLURS, ids=str)
def test_an_edit_of_no_strength_is_the_image(family: Family) -> None:
    images, values = inputs(family)
    ours = family.apply(images, values, torch.zeros(3, 2))
    torch.testing.assert_close(ours, images, rtol=0, atol=1e-6)


@pytest.mark.parametrize("family", families(1.0), ids=str)
def test_every_number_of_an_edit_changes_the_image_and_single_precision_stays(family: Family) -> None:
    images, values = inputs(family)
    for place in range(values.shape[1]):
        other = values.clone()
        other[:, place] = 1 - other[:, place]
        assert not torch.allclose(
            family.apply(images, values, torch.zeros(3, 2)), family.apply(images, other, torch.zeros(3, 2))
        ), place
    single = family.apply(images.float(), values, torch.zeros(3, 2))
    assert single.dtype == torch.float32
    assert single.min() >= 0
    assert single.max() <= 1
