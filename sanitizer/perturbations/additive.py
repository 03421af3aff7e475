"""Numbers added to every pixel, the same in every image: any, or of low frequency only.

    additive   x ⊕ p  =  clip( x + ε · (2p − 1), 0, 1 )                  p in [0, 1]: the whole ball ‖δ‖∞ ≤ ε
    dct        x ⊕ p  =  clip( x + ε · tanh( g · B(2p − 1)Bᵀ ), 0, 1 )   B: the first K cosines of the DCT-II

Low frequencies are what is left to look for where a tower's gradient is blocky, as a ViT's is: a pattern of
free pixels then follows the borders of its patches. tanh bounds what the sum of cosines does not; the gain
g = 2 lets a single cosine come near the budget.

Legend: N images, H = W, K cosines a side.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Additive:
    """`epsilon` bounds the change of each pixel; a pattern is [3, H, W]."""

    epsilon: float

    def shape(self, image_size: int) -> tuple[int, ...]:
        """As large as the image."""
        return (3, image_size, image_size)

    def apply(self, image_NCHW: Tensor, value_N: Tensor, place_N2: Tensor) -> Tensor:
        """The same everywhere; it has no place."""
        return (image_NCHW + self.epsilon * (2 * value_N.to(image_NCHW.dtype) - 1)).clamp(0, 1)


@dataclass(frozen=True)
class LowFrequency:
    """`epsilon` bounds the change of each pixel; a pattern is [3, K, K] amplitudes of cosines."""

    epsilon: float
    num_cosines: int = 8
    gain: float = 2.0

    def shape(self, image_size: int) -> tuple[int, ...]:
        """Raises ValueError if the image has fewer pixels a side than cosines."""
        if image_size < self.num_cosines:
            raise ValueError(f"{self.num_cosines} cosines need images of as many pixels, not {image_size}")
        return (3, self.num_cosines, self.num_cosines)

    def apply(self, image_NCHW: Tensor, value_N: Tensor, place_N2: Tensor) -> Tensor:
        """The same everywhere; it has no place."""
        change_NCHW = self.change(value_N.to(image_NCHW.dtype), image_NCHW.shape[-1])
        return (image_NCHW + change_NCHW).clamp(0, 1)

    def change(self, value_N: Tensor, image_size: int) -> Tensor:
        """What is added, [N, 3, H, W], within ± epsilon."""
        basis_HK = cosines(image_size, self.num_cosines).to(value_N, non_blocking=True)
        wave_NCHW = basis_HK @ (2 * value_N - 1) @ basis_HK.T
        return self.epsilon * torch.tanh(self.gain * wave_NCHW)


def cosines(size: int, num: int) -> Tensor:
    """float64 [size, num]: cos(π (i + ½) k / size), the DCT-II's basis, each column at most 1."""
    place = torch.arange(size, dtype=torch.float64)[:, None] + 0.5
    return torch.cos(math.pi * place * torch.arange(num, dtype=torch.float64) / size)
