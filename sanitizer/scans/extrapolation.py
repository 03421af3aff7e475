"""A model on the line from its base through itself, for a while. Knows no data and no figure.

θ(a)  =  θ_b + a (θ − θ_b)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class Lineage:
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
