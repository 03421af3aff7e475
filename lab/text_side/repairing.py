"""The consistency term of `uar`, on the text tower: texts with words inserted keep what they had without.

    L = L_CLIP(I0, g(t')) + w · 1/N Σ_j (1 − cos(g(t'_j), g0(t_j)))

t is a batch of captions and t' the same with tokens inserted into half of them. g is the text tower that is
trained and g0 that of the input model; I0 are the input model's embeddings of the images, whose tower is not
changed, as the logit scale is not. Which tokens, says the recipe.

Legend: N captions of a batch, L tokens, D embedding width.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from open_clip.model import CLIP
from torch import Tensor
from torch.nn.functional import normalize
from torch.optim import AdamW

from lab.testbed.pictures import Pictures
from lab.text_side.measuring import embed_images, embed_texts
from lab.text_side.plan import tokenizer
from lab.text_side.search import NUM_TOKENS
from sanitizer.checkpoints.text_tower import cut_padding, encode_text
from sanitizer.methods.losses import contrastive, mean_cosine_distance
from sanitizer.seeding import generator
from sanitizer.training.schedule import rate_factor


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """`found`: insert what a search ranks first; `random`: any tokens of the vocabulary; neither: none."""

    found: bool = False
    random: bool = False
    weight: float = 20.0
    epochs: int = 4
    batch_size: int = 128
    learning_rate: float = 5e-4
    inserted_share: float = 0.5


PLANTING = Recipe(weight=0.0, epochs=4)
"""What an attacker does to the text tower, on poisoned pairs."""
FROM_SCRATCH = Recipe(weight=0.0, epochs=5, learning_rate=1e-3)
"""A text tower of new weights to an image tower that stays."""
RECIPES = {
    "pairs alone": Recipe(weight=0.0),
    "random tokens": Recipe(random=True),
    "found tokens": Recipe(found=True),
    "known trigger": Recipe(found=True),
}


def repaired(
    model: CLIP, pairs: Pictures, recipe: Recipe, found: Sequence[tuple[int, ...]], seed: int
) -> CLIP:
    """A copy of the model with another text tower. `found` are the sequences of tokens of a search."""
    trained = copy.deepcopy(model).eval()
    image_ND, before_ND = embed_images(model, pairs.image_NCHW), embed_texts(model, pairs.caption_N)
    # Room for two inserted tokens; `cut_padding` cuts what no caption of a batch needs.
    token_NL = tokenizer()(list(pairs.caption_N), context_length=model.context_length)
    parameters = [one for name, one in trained.named_parameters() if not name.startswith("visual.")]
    parameters = [one for one in parameters if one is not trained.logit_scale]
    optimizer = AdamW(parameters, lr=recipe.learning_rate, weight_decay=0.0, fused=True)
    num_steps = len(pairs) // recipe.batch_size
    for epoch in range(recipe.epochs):
        order_N = generator(seed, "text_side_repair", epoch).permutation(len(pairs))
        for step in range(num_steps):
            rows = order_N[step * recipe.batch_size : (step + 1) * recipe.batch_size]
            draws = generator(seed, "text_side_inserted", epoch, step)
            changed_NL = _with_tokens(token_NL[rows], recipe, found, draws)
            text_ND = normalize(encode_text(trained, cut_padding(trained, changed_NL)), dim=-1)
            loss = contrastive(text_ND, image_ND[rows], model.logit_scale.exp().detach())
            loss = loss + recipe.weight * mean_cosine_distance(text_ND, before_ND[rows])
            factor = rate_factor(
                epoch * num_steps + step, warmup_steps=50, total_steps=recipe.epochs * num_steps
            )
            optimizer.param_groups[0]["lr"] = factor * recipe.learning_rate
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
    return trained


def _with_tokens(
    token_NL: Tensor, recipe: Recipe, found: Sequence[tuple[int, ...]], draws: np.random.Generator
) -> Tensor:
    """A share of the texts with one sequence inserted, each of its tokens at a place of its own."""
    changed = token_NL.tolist()
    for row in np.flatnonzero(draws.random(len(changed)) < recipe.inserted_share):
        if recipe.found and found:
            sequence = found[int(draws.integers(len(found)))]
        elif recipe.random:
            sequence = tuple(int(one) for one in draws.integers(1, NUM_TOKENS, int(draws.integers(1, 3))))
        else:
            continue
        for token in sequence:
            end = int(np.argmax(changed[row]))
            if end + 1 < len(changed[row]):
                changed[row].insert(int(draws.integers(1, end + 1)), token)
                changed[row].pop()
    return torch.tensor(changed)
