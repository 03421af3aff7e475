"""CleanCLIP's objective (arXiv 2303.03323): L = lambda1 * L_CLIP + lambda2 * (L_II~ + L_TT~) / 2.

L_CLIP is CLIP's symmetric loss between images and their captions. L_II~ matches each image with its own
augmented view among the views of the batch, L_TT~ each caption with its own: within one modality, where
a trigger that ties an image to a caption has no say. Both run from the original to the view, with one
shared logit scale (docs/decisions/0010).

Legend: N pairs of the whole batch, D embedding width; `view` is the augmented one.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from cleanclip.vocabulary.recipe import CleanCLIPRecipe
from sanitizer.methods.losses import contrastive, matching
from sanitizer.methods.method import Losses, Method


class Embeddings(NamedTuple):
    """Unit rows, one per pair. The views are None where lambda2 is 0: they are then never computed."""

    image_ND: Tensor
    text_ND: Tensor
    image_view_ND: Tensor | None = None
    text_view_ND: Tensor | None = None


def method(recipe: CleanCLIPRecipe) -> Method:
    """The method with the weights of `recipe`."""

    def weighed(embeddings: Sequence[Tensor], logit_scale: Tensor) -> Losses:
        return objective(Embeddings(*embeddings), logit_scale, lambda1=recipe.lambda1, lambda2=recipe.lambda2)

    return Method(
        objective=weighed,
        parts=("loss_clip", "loss_self_supervised"),
        chance_loss=lambda batch_size: (recipe.lambda1 + recipe.lambda2) * math.log(batch_size),
        has_views=recipe.lambda2 > 0,
        warmup_steps=lambda _: recipe.warmup_steps,
    )


def objective(embeddings: Embeddings, logit_scale: Tensor, *, lambda1: float, lambda2: float) -> Losses:
    """The loss of one batch; `logit_scale` is the multiplier (1/tau), shared by all terms.

    The parts are unweighted; `loss_self_supervised` is 0 where lambda2 is 0. A term whose weight is 0 sends
    no gradient. Raises ValueError if lambda2 > 0 and the views are missing.
    """
    with torch.set_grad_enabled(torch.is_grad_enabled() and lambda1 > 0):
        clip = contrastive(embeddings.image_ND, embeddings.text_ND, logit_scale)
    if lambda2 == 0:
        return _losses(lambda1 * clip, clip, torch.zeros_like(clip))
    if embeddings.image_view_ND is None or embeddings.text_view_ND is None:
        raise ValueError("lambda2 > 0 needs the embeddings of the augmented views")
    image_term = matching(embeddings.image_ND, embeddings.image_view_ND, logit_scale)
    text_term = matching(embeddings.text_ND, embeddings.text_view_ND, logit_scale)
    self_supervised = (image_term + text_term) / 2
    total = lambda2 * self_supervised
    if lambda1 > 0:
        total = total + lambda1 * clip
    return _losses(total, clip, self_supervised)


def _losses(total: Tensor, clip: Tensor, self_supervised: Tensor) -> Losses:
    return Losses(total, {"loss_clip": clip, "loss_self_supervised": self_supervised})
