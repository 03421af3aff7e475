"""WaNet: a slight warp of the whole image (Nguyen and Tran, arXiv 2102.10369).

Shapes: N images, C = 3 channels, H rows, W columns, K control points a side.

The paper's warp: K x K offsets from U[-1, 1], divided by their mean absolute value (so that `strength` alone
sets how far pixels move: half a pixel or so for s = 0.5 whatever the image's size, since offsets are divided
by the side in coordinates where the image spans [-1, 1]), upsampled smoothly by bicubic interpolation.
CleanCLIP's and PAR's code takes K = the image's side: every pixel its own offset, jitter instead of a warp;
that is `control_points` = None. The field belongs to the attacker (`pattern_seed`), not to an image.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from cleanclip.vocabulary.attack_options import WaNetOptions
from sanitizer.attacks.trigger import check_batch, widest_float
from sanitizer.seeding import generator


@dataclass(frozen=True)
class WaNet:
    """A `Trigger`: bilinear sampling of every image at one fixed grid."""

    options: WaNetOptions

    def apply(self, image_NCHW: Tensor, index_N: Sequence[int], seed: int) -> Tensor:
        """See `Trigger.apply`; index and seed do not matter here, `pattern_seed` does."""
        check_batch(image_NCHW, index_N)
        height, width = image_NCHW.shape[-2:]
        dtype = widest_float(image_NCHW.device)
        grid_HW2 = warp_grid(self.options, height, width).to(dtype).to(image_NCHW.device, non_blocking=True)
        warped_NCHW = functional.grid_sample(
            image_NCHW.to(dtype),
            grid_HW2.expand(len(index_N), -1, -1, -1),
            mode="bilinear",
            padding_mode="zeros",
            align_corners=True,
        )
        return warped_NCHW.clamp(0, 1).float()


@lru_cache(maxsize=16)
def warp_grid(options: WaNetOptions, height: int, width: int) -> Tensor:
    """Where to sample: float64 [H, W, 2] of (x, y) in [-1, 1] with the corner pixels' centres at the ends.

    grid = clamp((identity + strength * field / side) * grid_rescale, -1, 1), side = W for x and H for y.
    Treat it as read-only: it is cached.
    """
    points = (options.control_points, options.control_points) if options.control_points else (height, width)
    offset_2KK = torch.from_numpy(generator(options.pattern_seed, "wanet_grid").uniform(-1, 1, (2, *points)))
    offset_2KK = offset_2KK / offset_2KK.abs().mean()
    field_2HW = functional.interpolate(
        offset_2KK[None], size=(height, width), mode="bicubic", align_corners=True
    )[0]
    y_HW, x_HW = torch.meshgrid(
        torch.linspace(-1, 1, height, dtype=torch.float64),
        torch.linspace(-1, 1, width, dtype=torch.float64),
        indexing="ij",
    )
    identity_HW2 = torch.stack([x_HW, y_HW], dim=-1)
    side_2 = torch.tensor([width, height], dtype=torch.float64)
    grid_HW2 = (identity_HW2 + options.strength * field_2HW.permute(1, 2, 0) / side_2) * options.grid_rescale
    return grid_HW2.clamp(-1, 1)
