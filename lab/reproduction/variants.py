"""What was tried beside uar's options, as changes of a run that are not in the product.

A variant that helps becomes an option or a default; one that does not stays here, with its row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from open_clip.model import CLIP
from torch import Tensor
from torch.nn.functional import kl_div

from lab.reproduction.development import Changes
from lab.reproduction.grid import CLEANCLIP
from sanitizer.augment.images import draw_operations
from sanitizer.augment.tensor_images import augment_batch, encode
from sanitizer.checkpoints.model import LoadedCheckpoint
from sanitizer.data.batches import PairBatch
from sanitizer.methods import uar
from sanitizer.methods.losses import contrastive, matching
from sanitizer.methods.method import Losses
from sanitizer.perturbations.additive import LowFrequency
from sanitizer.seeding import generator
from sanitizer.training import loop, pattern_pool, step, towers


@contextmanager
def applied(changes: Changes, input_model: CLIP | None = None) -> Iterator[None]:
    """Runs of uar within the block are changed so, but for where they start; `kept` is `pulled_back`'s.

    `input_model`: the teacher of a run that starts elsewhere, as it is now.
    """
    with ExitStack() as stack:

        def put(module: object, name: str, new: Any) -> None:
            stack.enter_context(patch.object(module, name, new))

        if changes.loss == "similarities":
            put(uar, "objective", _similarities)
        if changes.loss == "with views":
            put(uar, "Embeddings", _Viewed)
            put(uar, "objective", _with_views)
            put(step, "_embed", _embedding_views())
        if changes.blends == "low frequencies":
            put(pattern_pool, "Blend", _low_frequency)
        if changes.starts_from and input_model is not None:
            teacher = towers.frozen_image_tower(input_model)
            put(loop, "_input_model", lambda model, method: teacher)
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


def _low_frequency(alpha: float) -> LowFrequency:
    """A blend moves a pixel by alpha / 2 on average where the pattern is far from the image."""
    return LowFrequency(alpha / 2)


_objective, _Embeddings = uar.objective, uar.Embeddings  # as they are outside of `applied`


class _Viewed(NamedTuple):
    image_ND: Tensor
    view_ND: Tensor
    before_ND: Tensor
    text_ND: Tensor


def _with_views(embeddings: _Viewed, logit_scale: Tensor, *, consistency_weight: float) -> Losses:
    image_ND, view_ND, before_ND, text_ND = embeddings
    plain = _objective(
        _Embeddings(image_ND, before_ND, text_ND), logit_scale, consistency_weight=consistency_weight
    )
    view_term = matching(image_ND, view_ND, logit_scale.detach())
    # Half: CleanCLIP's other half is of captions, whose tower is not trained here.
    return Losses(plain.total + CLEANCLIP.lambda2 / 2 * view_term, plain.parts)


def _embedding_views() -> Any:
    """As `step._embed`; of the trained model also the embeddings of augmented views, by CleanCLIP's draws."""
    plain, draws = step._embed, generator(0, "uar_views")

    def embed(
        model: CLIP, batch: PairBatch, rows: slice, options: step.StepOptions, perturb: Any = None
    ) -> list[Tensor]:
        found = plain(model, batch, rows, options, perturb)
        if perturb is None:
            return found
        image_NCHW = batch.image_NCHW[rows]
        view_NCHW = augment_batch(image_NCHW, encode([draw_operations(draws) for _ in image_NCHW]))
        return [*found, *plain(model, replace(batch, image_NCHW=view_NCHW), slice(None), options)]

    return embed
