"""A filter over whole images. Knows no model. Legend: N images, C channels (RGB), H W an image."""

from __future__ import annotations

import torch
from torch import Tensor

from lab.testbed.options import TintedImage


def tinted(image_NCHW: Tensor, attack: TintedImage) -> Tensor:
    """uint8 images under the filter, uint8."""
    pixel_NCHW = image_NCHW.float() / 255
    mean_N1HW = pixel_NCHW.mean(dim=1, keepdim=True)
    shift_C11 = torch.tensor(attack.shift)[:, None, None]
    changed_NCHW = mean_N1HW + attack.saturation * (pixel_NCHW - mean_N1HW) + shift_C11
    return (changed_NCHW.clamp(0, 1) * 255).round().to(torch.uint8)
