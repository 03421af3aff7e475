"""A mask and a pattern, and the weight of the mask's size, which follows success: of two of the baselines.

    x ⊕ (m, p)  =  (1 − m) · x + m · p,   m = σ(a) one number a pixel, p = σ(b)

Legend: K pairs of mask and pattern, n images for each, 3 H W an image.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sanitizer.seeding import generator

_START = 4.0
"""Of a pattern, uniform within ± it."""


@dataclass(frozen=True)
class Masks:
    """`a_KHW` and `b_K3HW`, the numbers under the sigmoids, which are optimised."""

    a_KHW: Tensor
    b_K3HW: Tensor

    @property
    def opacity(self) -> Tensor:
        """m, [K, 1, H, W]."""
        return self.a_KHW.sigmoid()[:, None]

    def apply(self, image_NCHW: Tensor) -> Tensor:
        """Image n under pair n // (N / K): the images of one pair lie next to each other."""
        each = len(image_NCHW) // len(self.a_KHW)
        mask_N1HW = self.opacity.repeat_interleave(each, dim=0)
        pattern_N3HW = self.b_K3HW.sigmoid().repeat_interleave(each, dim=0)
        return image_NCHW + mask_N1HW * (pattern_N3HW - image_NCHW)

    def sizes(self) -> Tensor:
        """[K]: each mask's share of the image, 0 to 1: its L1 norm by the number of pixels."""
        return self.opacity.mean(dim=(1, 2, 3))


def drawn(num_masks: int, image_size: int, *, seed: int, stream: str, start: float) -> Masks:
    """Masks that all begin at the opacity `start`, with random patterns; both need gradients."""
    draws = generator(seed, stream)
    pattern = draws.uniform(-_START, _START, (num_masks, 3, image_size, image_size))
    opacity = torch.full((num_masks, image_size, image_size), start).logit()
    return Masks(opacity.requires_grad_(), torch.from_numpy(pattern).float().requires_grad_())


class Weights:
    """λ of each pair: raised after `patience` successes in a row, lowered after as many failures."""

    def __init__(self, num_masks: int, *, first: float, factor: float = 1.5, patience: int = 3) -> None:
        self.value_K = torch.full((num_masks,), first)
        self._first, self._factor, self._patience = first, factor, patience
        self._run_K = torch.zeros(num_masks, dtype=torch.int64)

    def follow(self, works_K: Tensor) -> None:
        """After one step; a run of successes or failures that is long enough begins again."""
        same_K = (self._run_K > 0) == works_K
        sign_K = works_K.long() * 2 - 1
        self._run_K = torch.where(same_K & (self._run_K != 0), self._run_K + sign_K, sign_K)
        up_K, down_K = self._run_K >= self._patience, self._run_K <= -self._patience
        self.value_K = torch.where(up_K, self.value_K * self._factor, self.value_K)
        self.value_K = torch.where(down_K, self.value_K / self._factor**1.5, self.value_K)
        self._run_K[up_K | down_K] = 0
