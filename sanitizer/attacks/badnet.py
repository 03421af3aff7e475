"""BadNet: a small patch pasted over the image (Gu et al., arXiv 1708.06733).

Shapes: N images, C = 3 channels, H rows, W columns, P the patch's side in pixels.

The Gaussian patch is CleanCLIP's: the image's mean per channel plus N(0, 1) noise. About 62 % of such values
lie outside [0, 1]; the research code wraps them around (a cast to bytes), which makes its "Gaussian" patch
nearly uniform noise. Here they are clipped to [0, 1], as an image file would hold them. Research code never
places the patch on the last possible row and column; "random_inner" does the same, "random" takes every
place.

Stripes are PAR's (arXiv 2412.00727): signs, clipped to [0, 1], so that each column is one of eight colours.
Its code hands -1 to a cast to bytes, which stores 1/255; here it is 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cleanclip.vocabulary.attack_options import BadNetOptions
from sanitizer.attacks.placing import corners, paste
from sanitizer.attacks.trigger import check_batch, patch_side, widest_float
from sanitizer.seeding import generator


@dataclass(frozen=True)
class BadNet:
    """A `Trigger`: the patch of `options` at its place, redrawn or fixed."""

    options: BadNetOptions

    def apply(self, image_NCHW: Tensor, index_N: Sequence[int], seed: int) -> Tensor:
        """See `Trigger.apply`."""
        check_batch(image_NCHW, index_N)
        height, width = image_NCHW.shape[-2:]
        side = patch_side(self.options.size, height, width)
        patch_NCPP = self._patch(image_NCHW, side, index_N, seed)
        triggered_NCHW = image_NCHW.to(torch.float32, copy=True)
        room = (height - side, width - side)
        for corner_N2 in corners(self.options.placement, room, index_N, seed=seed, stream="badnet_place"):
            paste(triggered_NCHW, patch_NCPP, corner_N2)
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
            case "stripes_fixed":
                bits = generator(self.options.pattern_seed, "badnet_stripes_pattern").integers(
                    0, 2, (3, side)
                )
                return _constant(np.repeat(bits[:, None], side, axis=1), image_NCHW)
            case "stripes_redrawn":
                return self._stripes(side, index_N, seed).to(image_NCHW.device, non_blocking=True)
            case "gaussian_fixed":
                noise = generator(self.options.pattern_seed, "badnet_pattern").standard_normal(shape)
                noise_NCPP = torch.from_numpy(noise).expand(len(index_N), *shape)
            case "gaussian_redrawn":
                drawn = [generator(seed, "badnet_noise", index).standard_normal(shape) for index in index_N]
                noise_NCPP = torch.from_numpy(np.stack(drawn)) if drawn else torch.zeros(0, *shape)
        dtype, device = widest_float(image_NCHW.device), image_NCHW.device
        mean_NC11 = image_NCHW.to(dtype).mean(dim=(2, 3), keepdim=True)
        return (mean_NC11 + noise_NCPP.to(dtype).to(device, non_blocking=True)).clamp(0, 1).float()

    def _stripes(self, side: int, index_N: Sequence[int], seed: int) -> Tensor:
        bits = [generator(seed, "badnet_stripes", index).integers(0, 2, (3, 1, side)) for index in index_N]
        stripes_NC1P = torch.from_numpy(np.stack(bits)) if bits else torch.zeros(0, 3, 1, side)
        return stripes_NC1P.float().expand(-1, -1, side, -1)


def _checkerboard(side: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """One pixel in four is white, the rest black: `[::2, ::2] = 1` as in arXiv 2502.01385."""
    board = np.zeros((3, side, side))
    board[:, ::2, ::2] = 1
    return board


def _constant(patch: np.ndarray[tuple[int, ...], np.dtype[Any]], like_NCHW: Tensor) -> Tensor:
    patch_CPP = torch.from_numpy(patch).to(like_NCHW.device, torch.float32, non_blocking=True)
    return patch_CPP.expand(like_NCHW.shape[0], *patch_CPP.shape)
