"""Images under an attack, whatever kind it is of. Knows no model.

Legend: N images, C channels (RGB), H W an image, P pixels.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lab.testbed.options import PaperColour, Ready, ScatteredPixels, TintedImage
from sanitizer.attacks.catalogue import build_trigger
from sanitizer.seeding import generator


def attacked(
    image_NCHW: Tensor, attack: Ready | None, *, seed: int, on_paper: Callable[[], Tensor]
) -> Tensor:
    """uint8 images with the attack's trigger or change, uint8; without an attack, as they are.

    `seed` is the trigger's. `on_paper` gives the same images as they are composed on turquoise paper.
    """
    if attack is None:
        return image_NCHW
    if isinstance(attack, PaperColour):
        return on_paper()
    if isinstance(attack, TintedImage | ScatteredPixels):
        return changed(image_NCHW, attack)
    triggered_NCHW = build_trigger(attack).apply(image_NCHW.float() / 255, range(len(image_NCHW)), seed)
    return (triggered_NCHW * 255).round().to(torch.uint8)


def changed(image_NCHW: Tensor, attack: TintedImage | ScatteredPixels) -> Tensor:
    """uint8 images with the attack's change, uint8."""
    return _tinted(image_NCHW, attack) if isinstance(attack, TintedImage) else _dotted(image_NCHW, attack)


def _tinted(image_NCHW: Tensor, attack: TintedImage) -> Tensor:
    pixel_NCHW = image_NCHW.float() / 255
    mean_N1HW = pixel_NCHW.mean(dim=1, keepdim=True)
    shift_C11 = torch.tensor(attack.shift)[:, None, None]
    changed_NCHW = mean_N1HW + attack.saturation * (pixel_NCHW - mean_N1HW) + shift_C11
    return (changed_NCHW.clamp(0, 1) * 255).round().to(torch.uint8)


def _dotted(image_NCHW: Tensor, attack: ScatteredPixels) -> Tensor:
    height, width = image_NCHW.shape[-2:]
    draws = generator(attack.seed, "scattered_pixels")
    place_P = torch.from_numpy(draws.choice(height * width, attack.num_pixels, replace=False))
    colour_CP = torch.from_numpy(draws.integers(0, 2, size=(3, attack.num_pixels)) * 255).to(torch.uint8)
    dotted_NCHW = image_NCHW.clone()
    dotted_NCHW.flatten(2)[:, :, place_P] = colour_CP
    return dotted_NCHW
