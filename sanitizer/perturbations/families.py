"""The families of universal perturbations, and what each offers.

A pattern is a tensor of numbers in [0, 1], whatever its family makes of them, so that one step size and one
clamp serve all families. Shapes: N images, 3 channels, H = W pixels; a pattern's own shape is `shape`. What
each family makes of an image x and a pattern p:

    patch    x + m_u · (shift_u(p) − x)   m_u is 1 on the S × S pixels whose upper left corner is u, else 0;
                                          shift_u moves the pattern there: one place, or one for each image
    blend    (1 − α) · x + α · p
    warp     y ↦ x(y + s · up(2p − 1)(y)) y are places in the image, whose side is 1; p holds a vertical and
                                          a horizontal displacement at each of P × P control points; `up` is
                                          bicubic interpolation between them. Pixels between pixels are read
                                          bilinearly, those outside the image are those of its border
    colour   clip( A x + c, 0, 1 )        A = I + r · (2 p_A − 1), c = r · (2 p_c − 1): p is [3, 4], its
                                          first three columns p_A, its last p_c
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate


class Family(Protocol):
    """A differentiable map x, p → x ⊕ p. Hashable: rows of one family are changed together."""

    def shape(self, image_size: int) -> tuple[int, ...]:
        """Of one pattern for square images of this side."""
        ...

    def apply(self, image_NCHW: Tensor, value_N: Tensor, place_N2: Tensor) -> Tensor:
        """The images, floating point in [0, 1], each changed by its own row of `value_N`, [N, *shape].

        `place_N2` has a vertical and a horizontal share in [0, 1) for every image, for a family that has a
        place. The result is a new tensor in [0, 1]; gradients reach images and patterns.
        """
        ...


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


@dataclass(frozen=True)
class Blend:
    """`alpha` in (0, 1] is the pattern's share of every pixel; a pattern is [3, H, W]."""

    alpha: float

    def shape(self, image_size: int) -> tuple[int, ...]:
        """As large as the image."""
        return (3, image_size, image_size)

    def apply(self, image_NCHW: Tensor, value_N: Tensor, place_N2: Tensor) -> Tensor:
        """The same everywhere; a blend has no place."""
        return (1 - self.alpha) * image_NCHW + self.alpha * value_N.to(image_NCHW.dtype)


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


@dataclass(frozen=True)
class Colour:
    """`radius` bounds each entry of A − I and of c."""

    radius: float

    def shape(self, image_size: int) -> tuple[int, ...]:
        """Whatever the image's size."""
        return (3, 4)

    def apply(self, image_NCHW: Tensor, value_N: Tensor, place_N2: Tensor) -> Tensor:
        """The same everywhere; a colour has no place."""
        change_N34 = self.radius * (2 * value_N.to(image_NCHW.dtype) - 1)
        matrix_NCD = torch.eye(3, dtype=image_NCHW.dtype, device=image_NCHW.device) + change_N34[:, :, :3]
        mixed_NCHW = torch.einsum("ncd,ndhw->nchw", matrix_NCD, image_NCHW)
        return (mixed_NCHW + change_N34[:, :, 3, None, None]).clamp(0, 1)
