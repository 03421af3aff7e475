"""BadNet: a small patch pasted over the image (Gu et al., arXiv 1708.06733). Knows no model and no caption.

Shapes: N images, C = 3 channels, H rows, W columns, P the patch's side in pixels.

The Gaussian patch is CleanCLIP's: the image's mean per channel plus N(0, 1) noise. About 62 % of such values
lie outside [0, 1]; the research code wraps them around (a cast to bytes), which makes its "Gaussian" patch
nearly uniform noise. Here they are clipped to [0, 1], as an image file would hold them. Research code never
places the patch on the last possible row and column; here every place is equally likely.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sanitizer.attacks.trigger import check_batch, patch_side, widest
from sanitizer.recipe import BadNetOptions
from sanitizer.seeding import generator


@dataclass(frozen=True)
class BadNet:
    """A `Trigger`: the patch of `options` at its place, redrawn or fixed."""

    options: BadNetOptions

    @property
    def name(self) -> str:
        return self.options.attack

    def apply(self, image_NCHW: Tensor, index_N: Sequence[int], seed: int) -> Tensor:
        """See `Trigger.apply`."""
        check_batch(image_NCHW, index_N)
        height, width = image_NCHW.shape[-2:]
        side = patch_side(self.options.size, height, width)
        patch_NCPP = self._patch(image_NCHW, side, index_N, seed)
        triggered_NCHW = image_NCHW.to(torch.float32, copy=True)
        for corner_N2 in self._places(height, width, side, index_N, seed):
            _paste(triggered_NCHW, patch_NCPP, corner_N2)
        return triggered_NCHW

    def _patch(self, image_NCHW: Tensor, side: int, index_N: Sequence[int], seed: int) -> Tensor:
        shape = (3, side, side)
        match self.options.pattern:
            case "checkerboard":
                return _constant(_checkerboard(side), image_NCHW)
            case "yellow":
                return _constant(
                    np.stack([np.ones(shape[1:]), np.ones(shape[1:]), np.zeros(shape[1:])]), image_NCHW
                )
            case "white":
                return _constant(np.ones(shape), image_NCHW)
            case "gaussian_fixed":
                noise = generator(self.options.pattern_seed, "badnet_pattern").standard_normal(shape)
                noise_NCPP = torch.from_numpy(noise).expand(len(index_N), *shape)
            case "gaussian_redrawn":
                drawn = [generator(seed, "badnet_noise", index).standard_normal(shape) for index in index_N]
                noise_NCPP = torch.from_numpy(np.stack(drawn)) if drawn else torch.zeros(0, *shape)
        dtype, device = widest(image_NCHW.device), image_NCHW.device
        mean_NC11 = image_NCHW.to(dtype).mean(dim=(2, 3), keepdim=True)
        return (mean_NC11 + noise_NCPP.to(dtype).to(device)).clamp(0, 1).float()

    def _places(self, height: int, width: int, side: int, index_N: Sequence[int], seed: int) -> list[Tensor]:
        """The patch's top-left corners: one [N, 2] tensor of (row, column) for every copy of the patch."""
        bottom, right = height - side, width - side
        fixed = {
            "top_left": [(0, 0)],
            "top_right": [(0, right)],
            "bottom_left": [(bottom, 0)],
            "bottom_right": [(bottom, right)],
            "centre": [(bottom // 2, right // 2)],
            "four_corners": [(0, 0), (0, right), (bottom, 0), (bottom, right)],
        }
        if self.options.placement in fixed:
            return [torch.tensor([corner] * len(index_N)) for corner in fixed[self.options.placement]]
        drawn = []
        for index in index_N:
            random = generator(seed, "badnet_place", index)
            drawn.append((int(random.integers(0, bottom + 1)), int(random.integers(0, right + 1))))
        return [torch.tensor(drawn)]


def _checkerboard(side: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """One pixel in four is white, the rest black: `[::2, ::2] = 1` as in arXiv 2502.01385."""
    board = np.zeros((3, side, side))
    board[:, ::2, ::2] = 1
    return board


def _constant(patch: np.ndarray[tuple[int, ...], np.dtype[np.float64]], like_NCHW: Tensor) -> Tensor:
    patch_CPP = torch.from_numpy(patch).to(like_NCHW.device, torch.float32)
    return patch_CPP.expand(like_NCHW.shape[0], *patch_CPP.shape)


def _paste(image_NCHW: Tensor, patch_NCPP: Tensor, corner_N2: Tensor) -> None:
    """Write every image's patch at its corner, in place and all at once."""
    num_images, num_channels, side, _ = patch_NCPP.shape
    if num_images == 0:
        return
    device = image_NCHW.device
    steps_P = torch.arange(side, device=device)
    corner_N2 = corner_N2.to(device)
    image_N111 = torch.arange(num_images, device=device)[:, None, None, None]
    channel_C11 = torch.arange(num_channels, device=device)[:, None, None]
    row_N1P1 = (corner_N2[:, :1] + steps_P)[:, None, :, None]
    column_N11P = (corner_N2[:, 1:] + steps_P)[:, None, None, :]
    image_NCHW[image_N111, channel_C11, row_N1P1, column_N11P] = patch_NCPP
