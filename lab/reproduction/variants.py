"""What was tried beside uar's options, as changes of a run that are not in the product.

A variant that helps becomes an option or a default; one that does not stays here, with its row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn.functional import kl_div

from cleanclip.spec.recipe import UARRecipe
from lab.reproduction.development import Changes
from sanitizer.checkpoints.model import LoadedCheckpoint
from sanitizer.methods import uar
from sanitizer.methods.losses import contrastive
from sanitizer.methods.method import Losses
from sanitizer.perturbations.colour import Colour
from sanitizer.perturbations.family import Family
from sanitizer.perturbations.patterns import Pattern, drawn
from sanitizer.perturbations.warp import Warp
from sanitizer.training import run_patterns
from sanitizer.training.pattern_pool import PatternPool

WARP, COLOUR = Warp(strength=0.06), Colour(radius=0.3)


@contextmanager
def applied(changes: Changes) -> Iterator[None]:
    """Runs of uar within the block are changed so; `kept` is `pulled_back`'s."""
    objective = _similarities if changes.loss == "similarities" else uar.objective
    pool = _WiderPool if changes.further_families else PatternPool
    with patch.object(uar, "objective", objective), patch.object(run_patterns, "PatternPool", pool):
        yield


def pulled_back(cleaned: LoadedCheckpoint, source: LoadedCheckpoint, kept: float) -> None:
    """Move the weights of `cleaned` towards those of `source`, in place."""
    before = source.model.state_dict()
    with torch.no_grad():
        for name, tensor in cleaned.model.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(before[name].lerp(tensor, kept))


def average(checkpoint: LoadedCheckpoint, others: Sequence[LoadedCheckpoint]) -> None:
    """The mean of the weights of all, in place."""
    states = [other.model.state_dict() for other in others]
    with torch.no_grad():
        for name, tensor in checkpoint.model.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(torch.stack([tensor, *(state[name] for state in states)]).mean(dim=0))


def _similarities(embeddings: uar.Embeddings, logit_scale: Tensor, *, consistency_weight: float) -> Losses:
    image_ND, before_ND, text_ND = embeddings
    assert text_ND is not None
    scale = logit_scale.detach()
    wanted_NN, got_NN = scale * before_ND @ text_ND.T, scale * image_ND @ text_ND.T
    both = [(got_NN, wanted_NN), (got_NN.T, wanted_NN.T)]
    divergences = [
        kl_div(got.log_softmax(1), wanted.log_softmax(1), reduction="batchmean", log_target=True)
        for got, wanted in both
    ]
    parts = {
        "loss_consistency": torch.stack(divergences).mean(),
        "loss_clip": contrastive(image_ND, text_ND, scale),
    }
    return Losses(consistency_weight * parts["loss_consistency"] + parts["loss_clip"], parts)


class _WiderPool(PatternPool):
    """The last two live patterns are a warp and a colour change."""

    def __init__(self, recipe: UARRecipe, *, image_size: int, seed: int, device: torch.device) -> None:
        super().__init__(recipe, image_size=image_size, seed=seed, device=device)
        self._num_live += 2
        self._live = [self._drawn(number, 0) for number in range(self._num_live)]

    def families_to_invert(self) -> tuple[Family, ...]:
        return (*super().families_to_invert(), WARP, WARP, COLOUR, COLOUR)

    def _drawn(self, number: int, step: int) -> Pattern:
        further: dict[int, Any] = {self._num_live - 2: WARP, self._num_live - 1: COLOUR}
        if number < self._recipe.live_patches + self._recipe.live_blends:
            return super()._drawn(number, step)
        pattern = drawn(further[number], self._size, self._seed, "uar_live", number, step)
        return Pattern(pattern.family, pattern.value.to(self._device).requires_grad_())
