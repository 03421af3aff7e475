"""Embedding drift: how far a model's embeddings are from those of the model that it was made from.

Shapes: N images of a batch, C classes, D embedding width; H = W the model's image size.

Both models see the same clean pixels, side by side, so that nothing of the first has to be kept: no embedding
outlives its batch, one distance an image does. The cosine distance of unit vectors u, v is |u - v|^2 / 2,
exactly 0 for equal ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from cleanclip.vocabulary.audit_figures import EmbeddingDrift
from cleanclip.vocabulary.recipe import AuditPrecision
from sanitizer.audits.statistics import mean_distance
from sanitizer.audits.zero_shot import image_embeddings

if TYPE_CHECKING:
    from sanitizer.checkpoints.model import LoadedCheckpoint


class Drift:
    """From `came_in`, which must be ready to be measured (`measuring`)."""

    def __init__(
        self,
        came_in: LoadedCheckpoint,
        class_CD: Tensor,
        class_before_CD: Tensor,
        precision: AuditPrecision = "fp32",
    ) -> None:
        """The two are unit embeddings of the classes, of both models."""
        self._came_in = came_in
        self._precision = precision
        self._class_distance_C = cosine_distance(class_CD, class_before_CD)
        self._image_distance: list[Tensor] = []

    def add(self, pixels_NCHW: Tensor, image_ND: Tensor) -> None:
        """A batch: normalised pixels, and what the changed model makes of them."""
        before_ND = image_embeddings(self._came_in, pixels_NCHW, precision=self._precision)
        self._image_distance.append(cosine_distance(image_ND, before_ND).cpu())

    def measured(self) -> EmbeddingDrift:
        """Of all batches that were added, one at least."""
        return EmbeddingDrift(
            images=mean_distance(torch.cat(self._image_distance).tolist()),
            classes=mean_distance(self._class_distance_C.tolist()),
        )


def cosine_distance(one_ND: Tensor, other_ND: Tensor) -> Tensor:
    """[N]: 0 for the same direction, 2 for the opposite one."""
    difference_ND = functional.normalize(one_ND, dim=-1) - functional.normalize(other_ND, dim=-1)
    return difference_ND.square().sum(dim=-1) / 2
