"""Augmented views for a pre-training with self-supervision: CleanCLIP's own, drawn again in every epoch.

Legend: N pairs of a batch, C H W an image.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from lab.testbed.options import SubjectOptions
from lab.testbed.pictures import Pictures
from sanitizer.augment.captions import augment_caption
from sanitizer.augment.images import draw_operations
from sanitizer.augment.tensor_images import augment_batch, encode
from sanitizer.seeding import generator

_EDA_ALPHA = 0.1


class Views:
    """By epoch and row of the pairs. All captions are drawn at once, so that their words are known."""

    def __init__(self, pairs: Pictures, options: SubjectOptions, seed: int) -> None:
        self._image_NCHW, self._seed = pairs.image_NCHW, seed
        self._captions = [
            [
                augment_caption(caption, _EDA_ALPHA, generator(seed, "caption_view", epoch, row))
                for row, caption in enumerate(pairs.caption_N)
            ]
            for epoch in range(options.epochs)
        ]

    def captions(self) -> list[str]:
        """All that will come, each once."""
        return sorted({caption for epoch in self._captions for caption in epoch})

    def captions_of(self, epoch: int, rows: Sequence[int]) -> list[str]:
        """The views of these rows' captions."""
        return [self._captions[epoch][row] for row in rows]

    def images(self, epoch: int, rows: list[int]) -> Tensor:
        """The views of these rows' images, uint8 [N, C, H, W]."""
        drawn = [draw_operations(generator(self._seed, "image_view", epoch, row)) for row in rows]
        return augment_batch(self._image_NCHW[rows], encode(drawn))
