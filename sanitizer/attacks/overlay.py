"""Overlay: an image or words laid on the image, the customer's own or PAR's text.

x' = (1 - alpha m) x + alpha m colour, m the mask of the trigger image: 0 where
it is transparent, 1 where it is opaque.
Copies that overlap make one image first, the later ones over the earlier, so that this holds once a pixel.

Shapes: N images, C = 3 channels, H rows, W columns, P rows and Q columns of the image as it is laid on.

PAR (arXiv 2412.00727) blends its red text into the red channel alone, because its code takes the pixels that
are not 0 channel by channel; on a white image nothing of it is seen. Here ink has all three channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cleanclip.vocabulary.attack_options import CustomPatchOptions, CustomPatternOptions, TextTriggerOptions
from sanitizer.attacks.placing import corners, paste, same_corner
from sanitizer.attacks.trigger import check_batch, patch_side, widest_float
from sanitizer.attacks.trigger_images import TriggerImage, decode, draw


@dataclass(frozen=True, kw_only=True)
class Overlay:
    """A `Trigger`: `trigger_image` at its place with `alpha`; `size` None stretches it over all."""

    trigger_image: TriggerImage
    alpha: float
    size: float | None = None
    placement: str = "top_left"
    at: tuple[float, float] | None = None

    @classmethod
    def of(cls, options: CustomPatchOptions | CustomPatternOptions | TextTriggerOptions) -> Overlay:
        """Raises OptionsRejected as `trigger_images.decode` and `trigger_images.draw` do."""
        if isinstance(options, TextTriggerOptions):
            trigger_image = draw(options.text, options.colour)
        else:
            trigger_image = decode(options.image)
        if isinstance(options, CustomPatternOptions):
            return cls(trigger_image=trigger_image, alpha=options.alpha)
        return cls(
            trigger_image=trigger_image,
            alpha=options.alpha,
            size=options.size,
            placement=options.placement,
            at=options.at,
        )

    def apply(self, image_NCHW: Tensor, index_N: Sequence[int], seed: int) -> Tensor:
        """See `Trigger.apply`."""
        check_batch(image_NCHW, index_N)
        height, width = image_NCHW.shape[-2:]
        device, dtype = image_NCHW.device, widest_float(image_NCHW.device)
        laid_4PQ = self._laid(height, width) * self.alpha
        kept_PQ = (1 - laid_4PQ[3]).to(dtype).to(device, non_blocking=True)
        colour_NCPQ = laid_4PQ[:3].to(dtype).to(device, non_blocking=True).expand(len(index_N), -1, -1, -1)
        triggered_NCHW = image_NCHW.to(dtype, copy=True)
        room = (height - kept_PQ.shape[0], width - kept_PQ.shape[1])
        paste(triggered_NCHW, colour_NCPQ, self._place(room, index_N, seed), kept_PQ)
        return triggered_NCHW.clamp(0, 1).float()

    def _laid(self, height: int, width: int) -> Tensor:
        """As it is laid on: float64 [4, P, Q]; in four corners as large as the image, with all copies."""
        laid_4PQ = self.trigger_image.resized(*self._extent(height, width))
        if self.at is not None or self.placement != "four_corners":
            return laid_4PQ
        room = (height - laid_4PQ.shape[1], width - laid_4PQ.shape[2])
        page_14HW = torch.zeros(1, 4, height, width, dtype=torch.float64)
        for corner_12 in corners(self.placement, room, [0], seed=0, stream="overlay_place"):
            paste(page_14HW, laid_4PQ[None], corner_12, 1 - laid_4PQ[3])
        return page_14HW[0]

    def _extent(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns on the image: the longer one is `size`, the other keeps the shape."""
        if self.size is None:
            return height, width
        side, (rows, columns) = patch_side(self.size, height, width), self.trigger_image.size
        longer = max(rows, columns)
        return max(1, round(side * rows / longer)), max(1, round(side * columns / longer))

    def _place(self, room: tuple[int, int], index_N: Sequence[int], seed: int) -> Tensor:
        if self.at is not None:
            return same_corner((round(self.at[0] * room[0]), round(self.at[1] * room[1])), len(index_N))
        return corners(self.placement, room, index_N, seed=seed, stream="overlay_place")[0]
