"""Class embeddings that were made already, by what they follow from.

The audit after cleaning asks again for those of the model that came in, and, where a method left the text
tower as it was, for those of the cleaned model too: the weights are compared, not the method's promise.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from cleanclip.vocabulary.recipe import AuditPrecision
from sanitizer.audits.zero_shot import class_embeddings

if TYPE_CHECKING:
    from sanitizer.checkpoints.model import LoadedCheckpoint

_OF_IMAGES_OR_LOGITS = ("visual.", "logit_")


class ClassMemory:
    """As long as one job; holds what `class_embeddings` gave, and gives it again for equal text towers."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], Tensor] = {}

    def embeddings(
        self,
        checkpoint: LoadedCheckpoint,
        class_names: Sequence[str],
        templates: Sequence[str],
        device: torch.device,
        *,
        precision: AuditPrecision = "fp32",
        after_classes: Callable[[int], None] | None = None,
    ) -> Tensor:
        """As `class_embeddings`; where nothing is computed, `after_classes` is called once, at the end."""
        key = (_text_sha256(checkpoint), tuple(class_names), tuple(templates), device, precision)
        if key not in self._known:
            self._known[key] = class_embeddings(
                checkpoint, class_names, templates, device, precision=precision, after_classes=after_classes
            )
        elif after_classes is not None:
            after_classes(len(class_names))
        return self._known[key]


def _text_sha256(checkpoint: LoadedCheckpoint) -> str:
    """Over every weight that an embedding of a text may follow from, and over the architecture."""
    digest = hashlib.sha256(repr(checkpoint.architecture).encode())
    for name, tensor in sorted(checkpoint.model.state_dict().items()):
        if not name.startswith(_OF_IMAGES_OR_LOGITS):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
