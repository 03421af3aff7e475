"""Between the cleaned model and the input model: where on the straight line does the backdoor come back?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from cleanclip.vocabulary.rebound_figures import InterpolatedPoint, Interpolation, ReboundPoint, least_half

if TYPE_CHECKING:
    from sanitizer.checkpoints.model import LoadedCheckpoint


def move_back(
    copy: LoadedCheckpoint, cleaned: Mapping[str, Tensor], came_in: Mapping[str, Tensor], share: float
) -> None:
    """Give `copy` the weights at `share` of the way from `cleaned` to `came_in`, BatchNorm's statistics too;
    at 0 and 1 without a change of any bit."""
    with torch.no_grad():
        for name, tensor in copy.model.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(torch.lerp(cleaned[name], came_in[name], share))


def halve(measure: Callable[[float], ReboundPoint], num_halvings: int) -> Interpolation:
    """Measure both ends, then for each attack halve the gap under the least share with an ASR of 50 %, until
    it is 1 / 2^`num_halvings`. What was measured for one attack serves the others."""
    points: dict[float, InterpolatedPoint] = {}

    def look(share: float) -> None:
        found = measure(share)
        points[share] = InterpolatedPoint(share=share, ca=found.ca, attacks=found.attacks)

    look(0.0)
    look(1.0)
    for number in range(len(points[0.0].attacks)):
        while (high := least_half(_in_order(points), number)) is not None and high > 0:
            low = max(share for share in points if share < high)
            if high - low <= 0.5**num_halvings:
                break
            look((low + high) / 2)
    return Interpolation(points=_in_order(points))


def _in_order(points: Mapping[float, InterpolatedPoint]) -> tuple[InterpolatedPoint, ...]:
    return tuple(points[share] for share in sorted(points))
