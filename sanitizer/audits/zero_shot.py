"""Zero-shot classification: class names and templates → one embedding a class; image embeddings → classes.

Shapes: N images, C classes, D embedding width, T templates, L tokens.

Each text is embedded and normalised, a class is the normalised mean of its templates (Radford et al.,
arXiv 2103.00020, section 3.1.4). Comparisons are made in float64, ties go to the class that comes first, so
the same embeddings give the same answer on every device. `precision` is that of the towers: under "bf16" they
run in autocast, and an embedding has the 8 bits of bf16.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from cleanclip.vocabulary.recipe import AuditPrecision
from sanitizer.attacks.trigger import widest_float
from sanitizer.checkpoints.rejection import embeddings_not_finite
from sanitizer.checkpoints.text_tower import cut_padding, encode_text
from sanitizer.data.templates import render

if TYPE_CHECKING:
    from sanitizer.checkpoints.model import LoadedCheckpoint

TEXTS_AT_ONCE = 256


def class_embeddings(
    checkpoint: LoadedCheckpoint,
    class_names: Sequence[str],
    templates: Sequence[str],
    device: torch.device,
    *,
    precision: AuditPrecision = "fp32",
    after_classes: Callable[[int], None] | None = None,
) -> Tensor:
    """[C, D], unit length, float64 (float32 on MPS), on `device`, where the model must be.

    `after_classes(num_done)` is called after every chunk of classes; what it raises passes through.
    Raises CheckpointRejected `embeddings_not_finite` if a text embedding is NaN or infinite.
    """
    num_templates = len(templates)
    classes_at_once = max(1, TEXTS_AT_ONCE // num_templates)
    embedding_chunks = []
    for start in range(0, len(class_names), classes_at_once):
        names = class_names[start : start + classes_at_once]
        texts = [render(template, name) for name in names for template in templates]
        text_ND = torch.cat(
            [
                text_embeddings(
                    checkpoint,
                    checkpoint.tokenize(texts[first : first + TEXTS_AT_ONCE]),
                    device,
                    precision=precision,
                )
                for first in range(0, len(texts), TEXTS_AT_ONCE)
            ]
        )
        mean_CD = text_ND.view(len(names), num_templates, -1).mean(dim=1)
        embedding_chunks.append(functional.normalize(mean_CD, dim=-1))
        if after_classes is not None:
            after_classes(start + len(names))
    return torch.cat(embedding_chunks)


def image_embeddings(
    checkpoint: LoadedCheckpoint, image_NCHW: Tensor, *, precision: AuditPrecision = "fp32"
) -> Tensor:
    """[N, D] as the model gives them, of any length, float64 (float32 on MPS).

    `image_NCHW` is normalised for the model, float32, on the model's device.
    Raises CheckpointRejected `embeddings_not_finite` if an image embedding is NaN or infinite.
    """
    with _towers_in(precision, image_NCHW.device):
        image_ND = checkpoint.model.encode_image(image_NCHW)
    return _finite(image_ND)


def text_embeddings(
    checkpoint: LoadedCheckpoint,
    token_NL: Tensor,
    device: torch.device,
    *,
    precision: AuditPrecision = "fp32",
) -> Tensor:
    """[N, D] of tokenised texts, unit length, of the dtype of `class_embeddings`, which raises alike."""
    token_NK = cut_padding(checkpoint.model, token_NL).to(device)
    with _towers_in(precision, device):
        text_ND = encode_text(checkpoint.model, token_NK)
    return functional.normalize(_finite(text_ND), dim=-1)


def nearest(image_ND: Tensor, class_CD: Tensor) -> tuple[Tensor, Tensor]:
    """(predicted_N, logits_NC): the nearest class by cosine, the first among equals, and all cosines."""
    logits_NC = functional.normalize(image_ND, dim=-1) @ class_CD.T
    return first_argmax(logits_NC), logits_NC


def first_argmax(logits_NC: Tensor) -> Tensor:
    """[N]: the lowest class number among those with the largest logit, on every device."""
    is_best_NC = logits_NC == logits_NC.max(dim=1, keepdim=True).values
    # argmax of 0/1 would tie again; the largest of "classes left from here" is the first best class.
    num_classes = logits_NC.shape[1]
    left_C = torch.arange(num_classes, 0, -1, device=logits_NC.device)
    return num_classes - (is_best_NC * left_C).max(dim=1).values


def rank_of_label(logits_NC: Tensor, label_N: Tensor) -> Tensor:
    """[N]: how many classes come before the true one, 0 where it is the prediction; ties by class number."""
    true_N1 = logits_NC.gather(1, label_N[:, None])
    number_C = torch.arange(logits_NC.shape[1], device=logits_NC.device)
    comes_before_NC = (logits_NC > true_N1) | ((logits_NC == true_N1) & (number_C < label_N[:, None]))
    return comes_before_NC.sum(dim=1)


def _towers_in(precision: AuditPrecision, device: torch.device) -> AbstractContextManager[None]:
    """Around a tower only: a trigger is the same, and a comparison as exact, in either arithmetic."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def _finite(embedding_ND: Tensor) -> Tensor:
    embedding_ND = embedding_ND.to(widest_float(embedding_ND.device))
    if not bool(torch.isfinite(embedding_ND).all()):
        raise embeddings_not_finite()
    return embedding_ND
