"""A whole image mixed into every image. Knows no model.

x ⊕ p  =  (1 − α) · x + α · p
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


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
