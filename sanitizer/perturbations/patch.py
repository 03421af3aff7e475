"""A small square that covers what is under it, at one place or one for each image. Knows no model.

    x ⊕ p  =  x + m_u · (shift_u(p) − x)

m_u is 1 on the S × S pixels whose upper left corner is u, else 0; shift_u moves the pattern there. So the
square's pixels are the pattern's, all others the image's. Legend: N images, H = W, S the square's side.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Patch:
    """`side` in pixels; a pattern is [3, side, side]. `at`: shares in [0, 1) that overrule every place."""

    side: int
    at: tuple[float, float] | None = None

    def shape(self, image_size: int) -> tuple[int, ...]:
        """Raises ValueError if the square does not fit."""
        if not 1 <= self.side <= image_size:
            raise ValueError(f"a patch of {self.side} pixels does not fit images of {image_size}")
        return (3, self.side, self.side)

    def apply(self, image_NCHW: Tensor, value_N: Tensor, place_N2: Tensor) -> Tensor:
        """u = floor(place · (H − S + 1)): every place is equally likely for a uniform share."""
        num_images, _, height, width = image_NCHW.shape
        if self.at is not None:
            place_N2 = torch.tensor([self.at], dtype=torch.float64).expand(num_images, 2)
        free = torch.tensor([height - self.side + 1, width - self.side + 1], device=place_N2.device)
        corner_N2 = (place_N2 * free).long().minimum(free - 1).to(image_NCHW.device, non_blocking=True)
        within_S = torch.arange(self.side, device=image_NCHW.device)
        row_NS1 = (corner_N2[:, :1] + within_S)[:, :, None]
        column_N1S = (corner_N2[:, 1:] + within_S)[:, None, :]
        # Each pixel is written once, so the scatter and its gradient, a gather, are deterministic.
        pixel_NCP = (row_NS1 * width + column_N1S).reshape(num_images, 1, -1).expand(-1, 3, -1)
        flat_NCP = image_NCHW.reshape(num_images, 3, height * width)
        covered = flat_NCP.scatter(2, pixel_NCP, value_N.reshape(num_images, 3, -1).to(image_NCHW.dtype))
        return covered.reshape(image_NCHW.shape)
