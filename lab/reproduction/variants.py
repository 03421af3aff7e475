"""What was tried beside uar's options, as changes of a run that are not in the product.

A variant that helps becomes an option or a default; one that does not stays here, with its row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn.functional import kl_div

from lab.reproduction.development import Changes
from sanitizer.checkpoints.model import LoadedCheckpoint
from sanitizer.methods import uar
from sanitizer.methods.losses import contrastive
from sanitizer.methods.method import Losses


@contextmanager
def applied(changes: Changes) -> Iterator[None]:
    """Runs of uar within the block are changed so; `kept` is `pulled_back`'s."""
    objective = _similarities if changes.loss == "similarities" else uar.objective
    with patch.object(uar, "objective", objective):
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
