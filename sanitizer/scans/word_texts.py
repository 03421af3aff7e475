"""The texts of the open vocabulary's words under one model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from cleanclip.spec.templates import PLAIN_TEMPLATE
from sanitizer.audits.measuring import measuring
from sanitizer.audits.zero_shot import TEXTS_AT_ONCE, text_embeddings
from sanitizer.checkpoints.model import LoadedCheckpoint
from sanitizer.data.templates import render


def word_embedder(checkpoint: LoadedCheckpoint, device: torch.device) -> Callable[[Sequence[str]], Tensor]:
    """Gives words their unit embeddings, each in the plain template."""

    def embed(words: Sequence[str]) -> Tensor:
        texts = [render(PLAIN_TEMPLATE, word) for word in words]
        chunks = [texts[at : at + TEXTS_AT_ONCE] for at in range(0, len(texts), TEXTS_AT_ONCE)]
        with measuring(checkpoint, device):
            word_WD = torch.cat(
                [text_embeddings(checkpoint, checkpoint.tokenize(chunk), device) for chunk in chunks]
            )
        return word_WD.clone()

    return embed
