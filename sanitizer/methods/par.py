"""The objective of PAR, "Perturb and Recover" (arXiv 2412.00727).

    L = L_CLIP - (S_I [S_I <= tau] + S_T [S_T <= tau]) / 2

S_I = mean_j |phi(x_j) - phi_0(x_j)|^2 is how far the batch's image embeddings have moved from those that the
model that came in gives the same images; S_T is the same of the captions. Unit embeddings, so both lie in
[0, 4] and 2 is what two unrelated directions have. While a mean is at or under the threshold the objective
pushes it up, which breaks what the model has learnt, the trigger's link included; over it, that term is off
and CLIP's loss alone recovers what the clean pairs teach. The cut is on the batch's mean, not on each pair.
The logit scale takes part as a number and is not trained (docs/decisions/0053).

Legend: N pairs of the whole batch, D embedding width; `before` is of the model that came in.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from cleanclip.vocabulary.recipe import PARRecipe
from sanitizer.methods.losses import contrastive, mean_squared_distance
from sanitizer.methods.method import Losses, Method


class Embeddings(NamedTuple):
    """Unit rows, one per pair; `*_before` carry no gradient."""

    image_ND: Tensor
    text_ND: Tensor
    image_before_ND: Tensor
    text_before_ND: Tensor


def method(recipe: PARRecipe) -> Method:
    """The method with the threshold of `recipe`."""

    def cut(embeddings: Sequence[Tensor], logit_scale: Tensor) -> Losses:
        return objective(Embeddings(*embeddings), logit_scale, threshold=recipe.threshold)

    return Method(
        objective=cut,
        parts=("loss_clip", "loss_push", "distance_image", "distance_text"),
        chance_loss=math.log,
        watched_part="loss_clip",  # what is pushed away is subtracted, most where all are alike
        has_input_model=True,
        warmup_steps=lambda num_steps: round(recipe.push_share * num_steps),
        initial_rate=recipe.initial_learning_rate,
    )


def objective(embeddings: Embeddings, logit_scale: Tensor, *, threshold: float) -> Losses:
    """The loss of one batch; `logit_scale` is the multiplier (1/tau of CLIP), which gets no gradient.

    Parts: `loss_clip`; `loss_push`, what is subtracted from it; `distance_image` and `distance_text`, the
    batch's S_I and S_T, cut or not.
    """
    clip = contrastive(embeddings.image_ND, embeddings.text_ND, logit_scale.detach())
    image_distance = mean_squared_distance(embeddings.image_ND, embeddings.image_before_ND)
    text_distance = mean_squared_distance(embeddings.text_ND, embeddings.text_before_ND)
    push = (_up_to(image_distance, threshold) + _up_to(text_distance, threshold)) / 2
    return Losses(
        clip - push,
        {
            "loss_clip": clip,
            "loss_push": push,
            "distance_image": image_distance,
            "distance_text": text_distance,
        },
    )


def _up_to(distance: Tensor, threshold: float) -> Tensor:
    """The distance itself, and 0 without gradient once it is over the threshold."""
    return torch.where(distance <= threshold, distance, torch.zeros_like(distance))
