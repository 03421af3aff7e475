"""Blended: noise mixed into the whole image (Chen et al., arXiv 1712.05526). Knows no model and no caption.

x' = (1 - alpha) x + alpha noise, noise ~ U[0, 1] for every pixel and channel; CleanCLIP redraws it for every
image (alpha = 0.2), the original attack keeps one pattern.

Shapes: N images, C = 3 channels, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sanitizer.attacks.trigger import check_batch, widest
from sanitizer.recipe import BlendedOptions
from sanitizer.seeding import generator


@dataclass(frozen=True)
class Blended:
    """A `Trigger`: uniform noise of the image's own size, redrawn or fixed, mixed in with `alpha`."""

    options: BlendedOptions

    @property
    def name(self) -> str:
        return self.options.attack

    def apply(self, image_NCHW: Tensor, index_N: Sequence[int], seed: int) -> Tensor:
        """See `Trigger.apply`."""
        check_batch(image_NCHW, index_N)
        alpha = self.options.alpha
        dtype = widest(image_NCHW.device)
        noise_NCHW = self._noise(tuple(image_NCHW.shape[1:]), index_N, seed).to(dtype).to(image_NCHW.device)
        blended_NCHW = image_NCHW.to(dtype) * (1 - alpha) + noise_NCHW * alpha
        return blended_NCHW.clamp(0, 1).float()

    def _noise(self, shape: tuple[int, ...], index_N: Sequence[int], seed: int) -> Tensor:
        """float64 [N, C, H, W], or [C, H, W] where one pattern serves all images."""
        if self.options.pattern == "uniform_fixed":
            return torch.from_numpy(generator(self.options.pattern_seed, "blended_pattern").random(shape))
        drawn = [generator(seed, "blended_noise", index).random(shape) for index in index_N]
        return torch.from_numpy(np.stack(drawn)) if drawn else torch.zeros(0, *shape, dtype=torch.float64)
