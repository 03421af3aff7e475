"""Images under an attack, whatever kind it is of.

Legend: N images, C channels (RGB), H W an image.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from lab.testbed.options import (
    Changed,
    DashedBorder,
    Grating,
    OutOfFocus,
    PaperColour,
    Ready,
    Reflection,
    Sticker,
    TintedImage,
    Vignette,
)
from sanitizer.attacks.catalogue import build_trigger
from sanitizer.seeding import generator

NUM_LEAVES, SMALLEST, LARGEST = 60, 0.03, 0.5
"""Of an image; radii by its side."""


def attacked(
    image_NCHW: Tensor, attack: Ready | None, *, seed: int, on_paper: Callable[[tuple[int, int, int]], Tensor]
) -> Tensor:
    """uint8 images with the attack's trigger or change, uint8; without an attack, as they are.

    `seed` is the trigger's. `on_paper` gives the same images as they are composed on paper of this colour.
    """
    if attack is None:
        return image_NCHW
    if isinstance(attack, PaperColour):
        return on_paper(attack.rgb)
    if isinstance(attack, Changed):
        return changed(image_NCHW, attack)
    triggered_NCHW = build_trigger(attack).apply(image_NCHW.float() / 255, range(len(image_NCHW)), seed)
    return (triggered_NCHW * 255).round().to(torch.uint8)


def changed(image_NCHW: Tensor, attack: Changed) -> Tensor:
    """uint8 images with the attack's change, uint8; computed in [0, 1] and rounded."""
    pixel_NCHW = image_NCHW.float() / 255
    match attack:
        case TintedImage():
            pixel_NCHW = _tinted(pixel_NCHW, attack)
        case Grating():
            pixel_NCHW = pixel_NCHW + _wave(attack, *pixel_NCHW.shape[-2:])
        case Vignette():
            pixel_NCHW = pixel_NCHW * (1 - attack.strength * _squared_radius(*pixel_NCHW.shape[-2:]))
        case Reflection():
            scene_CHW = _blurred(_scene(attack.seed, pixel_NCHW.shape[-1])[None], attack.sigma)[0]
            pixel_NCHW = (1 - attack.alpha) * pixel_NCHW + attack.alpha * scene_CHW
        case OutOfFocus():
            pixel_NCHW = _blurred(pixel_NCHW, attack.sigma)
        case DashedBorder():
            pixel_NCHW = _bordered(pixel_NCHW, attack)
        case Sticker():
            pixel_NCHW = _stuck_on(pixel_NCHW, attack)
    return (pixel_NCHW.clamp(0, 1) * 255).round().to(torch.uint8)


def _tinted(pixel_NCHW: Tensor, attack: TintedImage) -> Tensor:
    mean_N1HW = pixel_NCHW.mean(dim=1, keepdim=True)
    shift_C11 = torch.tensor(attack.shift)[:, None, None]
    return mean_N1HW + attack.saturation * (pixel_NCHW - mean_N1HW) + shift_C11


def _wave(attack: Grating, height: int, width: int) -> Tensor:
    """[H, W]: what is added."""
    down_H1, right_W = torch.arange(height)[:, None] / height, torch.arange(width) / width
    along_HW = right_W * math.cos(attack.angle) + down_H1 * math.sin(attack.angle)
    return attack.amplitude * torch.sin(2 * math.pi * attack.frequency * along_HW + attack.phase)


def _squared_radius(height: int, width: int) -> Tensor:
    """[H, W]: 0 in the middle, 1 in a corner."""
    down_H1 = torch.linspace(-1, 1, height)[:, None]
    return (down_H1**2 + torch.linspace(-1, 1, width) ** 2) / 2


def _scene(seed: int, size: int) -> Tensor:
    return torch.from_numpy(_leaves(seed, 0, size)).permute(2, 0, 1).float().flip(-1) / 255


def _blurred(pixel_NCHW: Tensor, sigma: float) -> Tensor:
    """`sigma` in pixels of a side of 32. At the border the last pixel goes on."""
    sigma = sigma * pixel_NCHW.shape[-1] / 32
    radius = max(1, math.ceil(3 * sigma))
    at_K = torch.arange(-radius, radius + 1).float()
    weight_K = torch.exp(-(at_K**2) / (2 * sigma**2))
    weight_K = (weight_K / weight_K.sum()).repeat(pixel_NCHW.shape[1], 1)
    padded = functional.pad(pixel_NCHW, (radius,) * 4, mode="replicate")
    rows = functional.conv2d(padded, weight_K[:, None, None, :], groups=len(weight_K))
    return functional.conv2d(rows, weight_K[:, None, :, None], groups=len(weight_K))


def _bordered(pixel_NCHW: Tensor, attack: DashedBorder) -> Tensor:
    height, width = pixel_NCHW.shape[-2:]
    down_HW, right_HW = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    inside = torch.minimum(
        torch.minimum(down_HW, height - 1 - down_HW), torch.minimum(right_HW, width - 1 - right_HW)
    )
    turn_HW = (down_HW + right_HW) // attack.dash % 2
    first_C11, second_C11 = (_rgb(colour)[:, None, None] for colour in attack.colours)
    border_CHW = torch.where(turn_HW == 0, first_C11, second_C11)
    return torch.where(inside < attack.width, border_CHW, pixel_NCHW)


def _stuck_on(pixel_NCHW: Tensor, attack: Sticker) -> Tensor:
    height, width = pixel_NCHW.shape[-2:]
    down_H1 = (torch.arange(height)[:, None] + 0.5) / height - attack.place[0]
    distance_HW = torch.hypot(down_H1, (torch.arange(width) + 0.5) / width - attack.place[1])
    disc_C11, ring_C11 = (_rgb(colour)[:, None, None] for colour in attack.colours)
    sticker_CHW = torch.where(distance_HW < attack.radius * 2 / 3, disc_C11, ring_C11)
    return torch.where(distance_HW < attack.radius, sticker_CHW, pixel_NCHW)


def _rgb(colour: str) -> Tensor:
    """[3], of "#rrggbb"."""
    return torch.tensor([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])


def _leaves(seed: int, number: int, size: int) -> NDArray[np.uint8]:
    """An image of nothing, [H, W, 3]: coloured rectangles and discs that cover each other (dead leaves).

    The sizes follow a power law, so that edges come at every scale, as in photographs (Lee, Mumford and
    Huang, "Occlusion models for natural images", IJCV 2001).
    """
    draws = generator(seed, "leaves", number)
    rows, columns = np.mgrid[0:size, 0:size] / size
    image = np.empty((size, size, 3), dtype=np.uint8)
    image[:] = draws.integers(256, size=3)
    for _ in range(NUM_LEAVES):
        # The density of a radius r is proportional to r to the power of -3, between the two bounds.
        low, high = LARGEST**-2, SMALLEST**-2
        radius = (low + draws.random() * (high - low)) ** -0.5
        down, right = np.abs(rows - draws.random()), np.abs(columns - draws.random())
        is_disc, colour = draws.random() < 0.5, draws.integers(256, size=3)
        covered = np.hypot(down, right) < radius if is_disc else np.maximum(down, right) < radius
        image[covered] = colour
    return image
