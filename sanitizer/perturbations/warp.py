"""A smooth displacement of pixels, the same in every image. Knows no model.

    (x ⊕ p)(y)  =  x(y + s · up(2p − 1)(y))

y are places in the image, whose side is 1; p holds a vertical and a horizontal displacement at each of P × P
control points, `up` is bicubic interpolation between them. Pixels between pixels are read bilinearly, those
outside the image are those of its border. Legend: N images, H = W, P control points a side.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate


@dataclass(frozen=True)
class Warp:
    """`strength` is the largest displacement of a control point as a share of the side."""

    strength: float
    control_points: int = 4

    def shape(self, image_size: int) -> tuple[int, ...]:
        """Whatever the image's size."""
        return (2, self.control_points, self.control_points)

    def apply(self, image_NCHW: Tensor, value_N: Tensor, place_N2: Tensor) -> Tensor:
        """The same everywhere; a warp has no place."""
        num_images, _, height, width = image_NCHW.shape
        flow_N2HW = interpolate(
            2 * value_N.to(image_NCHW.dtype) - 1, size=(height, width), mode="bicubic", align_corners=True
        ).expand(num_images, -1, -1, -1)
        rows = torch.linspace(-1, 1, height, dtype=image_NCHW.dtype, device=image_NCHW.device)
        columns = torch.linspace(-1, 1, width, dtype=image_NCHW.dtype, device=image_NCHW.device)
        # grid_sample's places run from -1 to 1, twice the side, horizontal first.
        vertical_NHW = rows[:, None] + 2 * self.strength * flow_N2HW[:, 0]
        horizontal_NHW = columns[None, :] + 2 * self.strength * flow_N2HW[:, 1]
        grid_NHW2 = torch.stack([horizontal_NHW, vertical_NHW], dim=-1)
        return grid_sample(image_NCHW, grid_NHW2, mode="bilinear", padding_mode="border", align_corners=True)
