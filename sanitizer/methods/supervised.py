"""Supervised fine-tuning (arXiv 2303.03323): labelled images train the vision encoder by cross-entropy.

    L = -1/N sum_j log( exp(s <phi(x_j), w_{y_j}>) / sum_c exp(s <phi(x_j), w_c>) )

w_c is the zero-shot embedding of class c that the model's own text encoder gives; it and the logit scale s
stay what they were, so what comes out is still a CLIP (docs/decisions/0054).

Legend: N images of the whole batch, C classes, D embedding width.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from cleanclip.vocabulary.recipe import SupervisedRecipe
from sanitizer.methods.losses import classification
from sanitizer.methods.method import Losses, Method


class Embeddings(NamedTuple):
    """Unit rows, one per image; each image's class number; unit rows, one per class."""

    image_ND: Tensor
    label_N: Tensor
    class_CD: Tensor


def method(recipe: SupervisedRecipe) -> Method:
    """The method; its recipe has no weights."""

    def of_batch(embeddings: Sequence[Tensor], logit_scale: Tensor) -> Losses:
        return objective(Embeddings(*embeddings), logit_scale)

    return Method(
        objective=of_batch,
        parts=(),
        chance_loss=math.log,
        trains_text=False,
        reads_captions=False,
        has_labels=True,
        warmup_steps=lambda _: recipe.warmup_steps,
    )


def objective(embeddings: Embeddings, logit_scale: Tensor) -> Losses:
    """The loss of one batch; `logit_scale` is the multiplier (1/tau of CLIP), which gets no gradient."""
    image_ND, label_N, class_CD = embeddings
    return Losses(classification(image_ND, label_N, class_CD, logit_scale.detach()), {})
