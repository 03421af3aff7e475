"""An affine change of colour, the same for every pixel of every image. Knows no model.

    x ⊕ p  =  clip( A x + c, 0, 1 ),   A = I + r · (2 p_A − 1),   c = r · (2 p_c − 1)

Twelve numbers: p is [3, 4], its first three columns p_A, its last p_c. Legend: N images, C D channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


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
