"""Score `sensitivity`: how far one part of an image decides its embedding.

    max_m ( 1 − cos( f(x), f(m(x)) ) )        m: five masks and three blurs

A small trigger decides the whole embedding, and without it the embedding is another. The masks set one
quadrant or the middle to the image's mean colour; the blurs have standard deviations of 1/64, 1/32 and 1/16
of the side. Masking an input and watching the output is an old idea (occlusion, Zeiler and Fergus, ECCV
2014; STRIP, ACSAC 2019, does it to find triggers). It takes eight more passes of the image tower.

Shapes: N images, C = 3, H = W = S pixels, D embedding width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional

BLURS = (1 / 64, 1 / 32, 1 / 16)
"""Standard deviations as shares of the side."""


def changed(image_NCHW: Tensor) -> Iterator[Tensor]:
    """Eight versions of the images, which are floating point in [0, 1]."""
    side = image_NCHW.shape[-1]
    half, quarter = side // 2, side // 4
    mean_NC11 = image_NCHW.mean(dim=(2, 3), keepdim=True)
    for top, left in ((0, 0), (0, half), (half, 0), (half, half), (quarter, quarter)):
        masked = image_NCHW.clone()
        masked[:, :, top : top + half, left : left + half] = mean_NC11
        yield masked
    for share in BLURS:
        yield _blurred(image_NCHW, share * side)


def sensitivity(image_NCHW: Tensor, unit_ND: Tensor, embed: Callable[[Tensor], Tensor]) -> Tensor:
    """[N]. `embed` gives unit embeddings of pixels in [0, 1]; `unit_ND` are those of the images
    themselves."""
    least_N = torch.ones(len(image_NCHW), dtype=unit_ND.dtype, device=unit_ND.device)
    for version in changed(image_NCHW):
        least_N = torch.minimum(least_N, (embed(version) * unit_ND).sum(dim=1))
    return 1 - least_N


def _blurred(image_NCHW: Tensor, sigma: float) -> Tensor:
    """Gaussian, to three standard deviations; the border's pixels repeat."""
    reach = max(1, round(3 * sigma))
    place = torch.arange(-reach, reach + 1, dtype=image_NCHW.dtype, device=image_NCHW.device)
    weight = torch.exp(-0.5 * (place / sigma) ** 2)
    weight = weight / weight.sum()
    channels = image_NCHW.shape[1]
    for shape, padding in (((1, 1, -1, 1), (0, 0, reach, reach)), ((1, 1, 1, -1), (reach, reach, 0, 0))):
        kernel = weight.view(shape).expand(channels, 1, *weight.view(shape).shape[2:])
        image_NCHW = functional.conv2d(
            functional.pad(image_NCHW, padding, mode="replicate"), kernel, groups=channels
        )
    return image_NCHW
