"""Label-consistent: a patch put only on images that already carry the target's caption (arXiv 1912.02771).

The pixels are BadNet's patch, from BadNet's streams. What makes the attack is in the poisoner, which picks
only pairs whose caption names the target and leaves the captions as they are; an audit sees the patch alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from sanitizer.attacks.badnet import BadNet
from sanitizer.recipe import BadNetOptions, LabelConsistentOptions


@dataclass(frozen=True)
class LabelConsistent:
    """A `Trigger`: the patch of BadNet with the same pattern, place and size."""

    options: LabelConsistentOptions

    @property
    def name(self) -> str:
        return self.options.attack

    def apply(self, image_NCHW: Tensor, index_N: Sequence[int], seed: int) -> Tensor:
        """See `Trigger.apply`."""
        patch = BadNetOptions(
            pattern=self.options.pattern,
            placement=self.options.placement,
            size=self.options.size,
            pattern_seed=self.options.pattern_seed,
        )
        return BadNet(patch).apply(image_NCHW, index_N, seed)
