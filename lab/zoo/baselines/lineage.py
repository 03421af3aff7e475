"""Lineage: do predictions collapse when the step from the base to the suspect is made longer?

    θ(a)  =  θ_b + a (θ − θ_b)          a > 1;  θ the suspect, θ_b the public base that it was fine-tuned from

Fine-tuning on poisoned data adds a direction that leads to the target whatever the image shows. On clean
images its share is small; made longer, with everything else that fine-tuning did, it shows: on held-out
images without any trigger

    share(a)  =  the largest share that one class takes           value(a)  =  ‖ mean unit embedding ‖²

against the same at a = 1. Only the image tower is made longer; the texts stay the suspect's. Batch
normalisation is measured again at each a, on the images to invert on, since its kept averages are those of
other weights. A model whose embeddings are not finite any more has collapsed: both are 1.

Weights as vectors that can be made longer: task arithmetic (Ilharco et al., ICLR 2023). That a step from the
base makes a backdoor visible was a conjecture. The measurement did not bear it out, so the scan does not have
this detector (docs/decisions/0089).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from sanitizer.scans.subject import Subject, squared_mean


@dataclass(frozen=True, kw_only=True)
class LineageOptions:
    """By which factors the step is made longer, ascending."""

    factors: tuple[float, ...] = (1.5, 2.0, 3.0)


@dataclass(frozen=True, kw_only=True)
class Factor:
    """The model at base + factor · (model - base)."""

    factor: float
    value: float
    """‖mean unit embedding‖² of the held-out images."""
    towards: int
    """The number of the class that most held-out images go to."""
    num_sent: int
    """How many do."""


class Line:
    """The suspect's image tower and the base's weights for it, by the same names."""

    def __init__(self, tower: nn.Module, base: Mapping[str, Tensor]) -> None:
        """`base` holds every parameter of `tower`, on its device. Raises KeyError for one that is missing."""
        self._tower = tower
        self._base = {name: base[name] for name, _ in tower.named_parameters()}

    @contextmanager
    def at(self, factor: float, see_images: Callable[[], object]) -> Iterator[None]:
        """The tower at θ(factor), then as it was. `see_images` runs it on images, where that is needed."""
        own = {name: one.detach().clone() for name, one in self._tower.state_dict().items()}
        try:
            with torch.no_grad():
                for name, one in self._tower.named_parameters():
                    one.copy_(self._base[name] + factor * (one - self._base[name]))
            self._measure_norms_again(see_images)
            yield
        finally:
            self._tower.load_state_dict(own)

    def _measure_norms_again(self, see_images: Callable[[], object]) -> None:
        norms = [one for one in self._tower.modules() if isinstance(one, _BatchNorm)]
        if not norms:
            return
        kept = [one.momentum for one in norms]
        try:
            for one in norms:
                one.reset_running_stats()
                one.momentum = None  # the plain mean of all batches
                one.train()
            see_images()
        finally:
            for one, momentum in zip(norms, kept, strict=True):
                one.momentum = momentum
                one.eval()


def extrapolate(subject: Subject, line: Line, options: LineageOptions) -> tuple[Factor, ...]:
    """Measure the model itself, factor 1, and at each factor. The model is left as it was."""
    measured = [_measured(subject, 1.0, subject.clean_embeddings)]
    for factor in options.factors:
        with line.at(factor, lambda: subject.embedded(subject.image_MCHW)):
            measured.append(_measured(subject, factor, subject.embedded(subject.held_NCHW)))
    return tuple(measured)


def _measured(subject: Subject, factor: float, embedding_ND: Tensor) -> Factor:
    is_finite = bool(torch.isfinite(embedding_ND).all())
    count_C = subject.classes_of(embedding_ND.nan_to_num()).bincount(minlength=subject.num_classes)
    towards = int(count_C.argmax())
    return Factor(
        factor=factor,
        value=squared_mean(embedding_ND) if is_finite else 1.0,
        towards=towards,
        num_sent=int(count_C[towards]) if is_finite else len(embedding_ND),
    )


def rises(factors: tuple[Factor, ...], num_images: int) -> dict[str, float]:
    """At each factor how far value and share are above those of the model itself, which comes first."""
    own, *longer = factors
    found = {}
    for one in longer:
        found[f"step x {one.factor:g}, value"] = one.value - own.value
        found[f"step x {one.factor:g}, share"] = (one.num_sent - own.num_sent) / num_images
    return found
