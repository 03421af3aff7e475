"""The objective of UAR, universal adversarial repair (docs/uar.md).

    L = L_CLIP(f(x'), T0) + w · 1/N Σ_j (1 − cos(f(x'_j), f0(x_j)))

x' is the batch with universal patterns on part of it, x the same images without. f0 is the image tower that
came in, T0 the captions by its text tower, which stays as it is; so does the logit scale. A backdoor is a
pattern under which many images leave their own embedding for one place; the second term brings each back to
where its clean original was, and keeps what is clean there. Without captions the first term is left out.

Legend: N images of the whole batch, D embedding width; `before` is of the model that came in, on x.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from cleanclip.vocabulary.recipe import UARRecipe
from sanitizer.methods.losses import contrastive, mean_cosine_distance
from sanitizer.methods.method import Losses, Method


class Embeddings(NamedTuple):
    """Unit rows, one per image; only `image_ND`, of x', carries gradient. `text_ND` None: no captions."""

    image_ND: Tensor
    before_ND: Tensor
    text_ND: Tensor | None = None


def method(recipe: UARRecipe) -> Method:
    """The method with the weight of `recipe`."""
    has_captions = recipe.trained_on == "pairs"

    def of_batch(embeddings: Sequence[Tensor], logit_scale: Tensor) -> Losses:
        return objective(Embeddings(*embeddings), logit_scale, consistency_weight=recipe.consistency_weight)

    return Method(
        objective=of_batch,
        parts=("loss_clip", "loss_consistency") if has_captions else ("loss_consistency",),
        # Of images alone chance is 1, the distance of unrelated directions.
        chance_loss=math.log if has_captions else lambda _: 1.0,
        watched_part="loss_clip" if has_captions else "loss_consistency",
        trains_text=False,
        reads_captions=has_captions,
        has_teacher=True,
        warmup_steps=lambda _: recipe.warmup_steps,
        stages=recipe.stages(),
    )


def objective(embeddings: Embeddings, logit_scale: Tensor, *, consistency_weight: float) -> Losses:
    """The loss of one batch; `logit_scale` is the multiplier (1/tau of CLIP), which gets no gradient.

    Parts: `loss_clip`, where there are captions; `loss_consistency`, before its weight.
    """
    image_ND, before_ND, text_ND = embeddings
    consistency = mean_cosine_distance(image_ND, before_ND)
    total, parts = consistency_weight * consistency, {"loss_consistency": consistency}
    if text_ND is not None:
        parts["loss_clip"] = contrastive(image_ND, text_ND, logit_scale.detach())
        total = total + parts["loss_clip"]
    return Losses(total, parts)
