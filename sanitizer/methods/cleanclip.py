"""CleanCLIP's objective (arXiv 2303.03323): L = lambda1 * L_CLIP + lambda2 * (L_II~ + L_TT~) / 2.

L_CLIP is CLIP's symmetric loss between images and their captions. L_II~ matches each image with its own
augmented view among the views of the batch, L_TT~ each caption with its own: within one modality, where
a trigger that ties an image to a caption has no say. Both run from the original to the view, with one
shared logit scale (docs/decisions/0010). Knows no model, device or data.

Legend: N pairs of the whole batch, D embedding width; `view` is the augmented one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from sanitizer.methods.losses import contrastive, matching


class Embeddings(NamedTuple):
    """Unit rows, one per pair. The views are None where lambda2 is 0: they are then never computed."""

    image_ND: Tensor
    text_ND: Tensor
    image_view_ND: Tensor | None = None
    text_view_ND: Tensor | None = None


@dataclass(frozen=True)
class Losses:
    """Scalars. `clip` and `self_supervised` are unweighted; `self_supervised` is 0 where lambda2 is 0."""

    total: Tensor
    clip: Tensor
    self_supervised: Tensor


def objective(embeddings: Embeddings, logit_scale: Tensor, *, lambda1: float, lambda2: float) -> Losses:
    """The loss of one batch; `logit_scale` is the multiplier (1/tau), shared by all terms.

    A term whose weight is 0 sends no gradient. Raises ValueError if lambda2 > 0 and the views are missing.
    """
    with torch.set_grad_enabled(torch.is_grad_enabled() and lambda1 > 0):
        clip = contrastive(embeddings.image_ND, embeddings.text_ND, logit_scale)
    if lambda2 == 0:
        return Losses(total=lambda1 * clip, clip=clip, self_supervised=torch.zeros_like(clip))
    if embeddings.image_view_ND is None or embeddings.text_view_ND is None:
        raise ValueError("lambda2 > 0 needs the embeddings of the augmented views")
    image_term = matching(embeddings.image_ND, embeddings.image_view_ND, logit_scale)
    text_term = matching(embeddings.text_ND, embeddings.text_view_ND, logit_scale)
    self_supervised = (image_term + text_term) / 2
    total = lambda2 * self_supervised
    if lambda1 > 0:
        total = total + lambda1 * clip
    return Losses(total=total, clip=clip, self_supervised=self_supervised)
