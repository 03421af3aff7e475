"""A set of pairs under one model: its images and captions with their embeddings.

Shapes: I images, T captions, N images of a batch, L tokens, D embedding width; C = 3, H = W the model's image
size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from cleanclip.vocabulary.recipe import AuditPrecision
from sanitizer.audits.gallery import Gallery
from sanitizer.audits.zero_shot import TEXTS_AT_ONCE, image_embeddings, text_embeddings
from sanitizer.data.captioned import CaptionedBatches
from sanitizer.data.pixels import normalise

if TYPE_CHECKING:
    from sanitizer.checkpoints.model import LoadedCheckpoint


class EmbeddedSet:
    """`image_ID` and `text_TD`: unit embeddings in the order of `gallery`, on the model's device."""

    def __init__(
        self,
        checkpoint: LoadedCheckpoint,
        batches: CaptionedBatches,
        *,
        device: torch.device,
        precision: AuditPrecision,
        before_pass: Callable[[], None],
        after_images: Callable[[int], None],
    ) -> None:
        """Reads and embeds the whole set; see `measure_retrieval`, which says what it calls and raises."""
        self.batches = batches
        self.after_images = after_images
        self._checkpoint = checkpoint
        self._device = device
        self._precision: AuditPrecision = precision
        self._before_pass = before_pass
        self.gallery = Gallery()
        image_chunks = []
        for batch in batches:
            new = self.gallery.add(batch, checkpoint.tokenize(batch.captions))
            if new:
                image_chunks.append(self.encode(self.pixels(batch.image_NCHW[new])))
            after_images(self.gallery.num_pairs)
        self.gallery.check()
        self.image_ID = torch.cat(image_chunks)
        self.text_TD = self._encode_texts(torch.stack(self.gallery.tokens_of_caption))

    def pixels(self, image_NCHW: Tensor) -> Tensor:
        """uint8 → [0, 1], on the model's device."""
        return image_NCHW.to(self._device, non_blocking=True).float() / 255

    def encode(self, image_NCHW: Tensor) -> Tensor:
        """[N, D] of pixels in [0, 1]."""
        self._before_pass()
        architecture = self._checkpoint.architecture
        pixels_NCHW = normalise(image_NCHW, architecture.image_mean, architecture.image_std)
        return functional.normalize(
            image_embeddings(self._checkpoint, pixels_NCHW, precision=self._precision), dim=-1
        )

    def _encode_texts(self, token_TL: Tensor) -> Tensor:
        chunks = []
        for start in range(0, len(token_TL), TEXTS_AT_ONCE):
            self._before_pass()
            token_NL = token_TL[start : start + TEXTS_AT_ONCE]
            chunks.append(
                text_embeddings(self._checkpoint, token_NL, self._device, precision=self._precision)
            )
        return torch.cat(chunks)
