"""What every family of universal perturbations offers. Knows no model, no training and no randomness.

A pattern is a tensor of numbers in [0, 1], whatever its family makes of them, so that one step size and one
clamp serve all families. Shapes: N images, 3 channels, H = W pixels; a pattern's own shape is `shape`.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


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
