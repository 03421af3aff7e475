"""The objective of UAR, universal adversarial repair (docs/uar.md).

    L = L_CLIP(f(x'), T0) + w · 1/N Σ_j (1 − cos(f(x'_j), f0(x_j)))

x' is the batch with universal patterns on part of it, x the same images without. f0 is the image tower that
came in, T0 the captions by its text tower, which stays as it is; so does the logit scale. A backdoor is a
pattern under which many images leave their own embedding for one place; the second term brings each back to
where its clean original was, and keeps what is clean there. Without captions the first term is left out.

With trigger words the text tower g is trained too, on captions t' that are the batch's, half of them with a
trigger inserted (`TEXT_CONSISTENCY_WEIGHT` for 20; I0 are the images x by f0, T0 = g0(t)):

    L_text = L_CLIP(I0, g(t')) + 20 · 1/N Σ_j (1 − cos(g(t'_j), g0(t_j)))

The two losses share no trained weight, so the image tower becomes what it becomes without words.

Legend: N images of the whole batch, D embedding width; `before` is of the model that came in, on x.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from cleanclip.vocabulary.uar_recipe import TEXT_CONSISTENCY_WEIGHT, UARRecipe
from sanitizer.methods.losses import contrastive, mean_cosine_distance
from sanitizer.methods.method import Losses, Method


class Embeddings(NamedTuple):
    """Unit rows, one per image. `image_ND`, of x', and `worded_ND`, of t' by g, carry gradient; None: there
    are no captions, or no words."""

    image_ND: Tensor
    before_ND: Tensor
    text_ND: Tensor | None = None
    worded_ND: Tensor | None = None


def method(recipe: UARRecipe) -> Method:
    """The method with the weight of `recipe`."""
    has_captions, has_words = recipe.trained_on == "pairs", bool(recipe.trigger_words)

    def of_batch(embeddings: Sequence[Tensor], logit_scale: Tensor) -> Losses:
        image_ND, *others = embeddings
        if has_words:
            others.append(others.pop(0))
        rows = Embeddings(image_ND, *others)
        return objective(rows, logit_scale, consistency_weight=recipe.consistency_weight)

    return Method(
        objective=of_batch,
        parts=(
            *(("loss_clip",) if has_captions else ()),
            "loss_consistency",
            *(("loss_text_clip", "loss_text_consistency") if has_words else ()),
        ),
        # Of images alone chance is 1, the distance of unrelated directions.
        chance_loss=math.log if has_captions else lambda _: 1.0,
        watched_part="loss_clip" if has_captions else "loss_consistency",
        trains_text=False,
        inserts_words=has_words,
        reads_captions=has_captions,
        has_teacher=True,
        warmup_steps=lambda _: recipe.warmup_steps,
        stages=recipe.stages(),
    )


def objective(embeddings: Embeddings, logit_scale: Tensor, *, consistency_weight: float) -> Losses:
    """The loss of one batch; `logit_scale` is the multiplier (1/tau of CLIP), which gets no gradient.

    Parts: `loss_clip`, where there are captions; `loss_consistency`, before its weight; where there are words
    `loss_text_clip` and `loss_text_consistency`, the same of the text tower.
    """
    image_ND, before_ND, text_ND, worded_ND = embeddings
    consistency = mean_cosine_distance(image_ND, before_ND)
    total, parts = consistency_weight * consistency, {"loss_consistency": consistency}
    if text_ND is not None:
        parts["loss_clip"] = contrastive(image_ND, text_ND, logit_scale.detach())
        total = total + parts["loss_clip"]
    if text_ND is not None and worded_ND is not None:
        parts["loss_text_clip"] = contrastive(before_ND, worded_ND, logit_scale.detach())
        parts["loss_text_consistency"] = mean_cosine_distance(worded_ND, text_ND)
        total = total + parts["loss_text_clip"] + TEXT_CONSISTENCY_WEIGHT * parts["loss_text_consistency"]
    return Losses(total, parts)
