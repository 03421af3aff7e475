"""Blended: noise mixed into the whole image (Chen et al., arXiv 1712.05526).

x' = (1 - alpha) x + alpha noise, noise ~ U[0, 1] for every pixel and channel; CleanCLIP redraws it for every
image (alpha = 0.2), the original attack keeps one pattern.

PAR (arXiv 2412.00727) blends structure instead. Stripes: every column -1 or 1 in each channel, alpha = 0.03.
Triangles: a grid of squares that starts at the upper left, 0.4 on and below the diagonal and 0.8 above it,
alpha = 0.15; the image's edge cuts the last squares off (PAR leaves a margin; at 224 there is none).

Shapes: N images, C = 3 channels, H rows, W columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cleanclip.vocabulary.attack_options import BlendedOptions
from sanitizer.attacks.trigger import check_batch, patch_side, widest_float
from sanitizer.seeding import generator

_Pattern = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


@dataclass(frozen=True)
class Blended:
    """A `Trigger`: noise or structure of the image's own size, redrawn or fixed, mixed in with `alpha`."""

    options: BlendedOptions

    def apply(self, image_NCHW: Tensor, index_N: Sequence[int], seed: int) -> Tensor:
        """See `Trigger.apply`."""
        check_batch(image_NCHW, index_N)
        alpha = self.options.alpha
        dtype = widest_float(image_NCHW.device)
        noise_NCHW = (
            self._noise(tuple(image_NCHW.shape[1:]), index_N, seed)
            .to(dtype)
            .to(image_NCHW.device, non_blocking=True)
        )
        blended_NCHW = image_NCHW.to(dtype) * (1 - alpha) + noise_NCHW * alpha
        return blended_NCHW.clamp(0, 1).float()

    def _noise(self, shape: tuple[int, ...], index_N: Sequence[int], seed: int) -> Tensor:
        """float64 [N, C, H, W], or what broadcasts to it: one pattern for all images, one row for all."""
        match self.options.pattern:
            case "uniform_redrawn":
                drawn = [generator(seed, "blended_noise", index).random(shape) for index in index_N]
            case "uniform_fixed":
                drawn = [generator(self.options.pattern_seed, "blended_pattern").random(shape)]
            case "stripes_redrawn":
                drawn = [_stripes(generator(seed, "blended_stripes", index), shape) for index in index_N]
            case "stripes_fixed":
                drawn = [_stripes(generator(self.options.pattern_seed, "blended_stripes_pattern"), shape)]
            case "triangles":
                drawn = [_triangles(self.options.cell, shape)]
        return torch.from_numpy(np.stack(drawn)) if drawn else torch.zeros(0, *shape, dtype=torch.float64)


def _stripes(random: np.random.Generator, shape: tuple[int, ...]) -> _Pattern:
    """[C, 1, W] of -1 and 1."""
    channels, _, width = shape
    return random.integers(0, 2, (channels, 1, width)).astype(np.float64) * 2 - 1


def _triangles(cell: float, shape: tuple[int, ...]) -> _Pattern:
    """[1, H, W] of 0.4 and 0.8."""
    _, height, width = shape
    side = patch_side(cell, height, width)
    row_H, column_W = np.arange(height) % side, np.arange(width) % side
    return np.where(row_H[:, None] >= column_W, 0.4, 0.8)[None]
