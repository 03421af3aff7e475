"""SIG: a sinusoidal stripe pattern over the whole image (Barni et al., arXiv 1902.11237). Draws nothing.

v(i, j) = amplitude * sin(2 pi j frequency / W): constant down a column j, the same for all channels, and
`frequency` full waves across the image whatever its width.

Shapes: N images, C = 3 channels, H rows, W columns.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cleanclip.vocabulary.attack_options import SIGOptions
from sanitizer.attacks.trigger import check_batch, widest_float


@dataclass(frozen=True)
class SIG:
    """A `Trigger`: the wave added at full amplitude, or blended in as CleanCLIP's code does."""

    options: SIGOptions

    def apply(self, image_NCHW: Tensor, index_N: Sequence[int], seed: int) -> Tensor:
        """See `Trigger.apply`; index and seed do not matter here.

        `blend` None: clip(x + v). Else (1 - blend) x + blend clip(x + v).
        """
        check_batch(image_NCHW, index_N)
        width, dtype = image_NCHW.shape[-1], widest_float(image_NCHW.device)
        column_W = torch.arange(width, dtype=torch.float64)
        wave_W = self.options.amplitude * torch.sin(2 * math.pi * column_W * self.options.frequency / width)
        wave_W = wave_W.to(dtype).to(image_NCHW.device, non_blocking=True)
        image_NCHW = image_NCHW.to(dtype)
        striped_NCHW = (image_NCHW + wave_W).clamp(0, 1)
        blend = self.options.blend
        if blend is not None:
            striped_NCHW = (1 - blend) * image_NCHW + blend * striped_NCHW
        return striped_NCHW.clamp(0, 1).float()
