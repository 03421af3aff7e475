"""A model and the labelled images that it is measured on, pass by pass.

Shapes: N images of a batch, C = 3 channels, H = W the model's image size, D embedding width.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from cleanclip.vocabulary.recipe import AuditPrecision
from sanitizer.audits.watch import Watch
from sanitizer.audits.zero_shot import image_embeddings
from sanitizer.data.batches import LabelledBatch, LabelledBatches
from sanitizer.data.pixels import normalise

if TYPE_CHECKING:
    from sanitizer.checkpoints.model import LoadedCheckpoint


@dataclass(frozen=True, kw_only=True)
class ImagesUnderModel:
    """A model and the images that it is measured on."""

    checkpoint: LoadedCheckpoint
    batches: LabelledBatches
    device: torch.device
    watch: Watch
    seed: int
    precision: AuditPrecision = "fp32"

    def images(self) -> Iterator[tuple[LabelledBatch, Tensor]]:
        """One pass: each batch, and its images on the device in [0, 1]."""
        for batch in self.batches:
            self.watch.check()
            yield batch, batch.image_NCHW.to(self.device, non_blocking=True).float() / 255
            self.watch.images_done(batch.index_N[-1] + 1)

    def to_pixels(self, image_NCHW: Tensor) -> Tensor:
        """As the model wants them."""
        architecture = self.checkpoint.architecture
        return normalise(image_NCHW, architecture.image_mean, architecture.image_std)

    def embed(self, image_NCHW: Tensor) -> Tensor:
        return image_embeddings(self.checkpoint, self.to_pixels(image_NCHW), precision=self.precision)
