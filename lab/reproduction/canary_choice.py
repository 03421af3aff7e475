"""What canaries choose, and how far that is from the best choice. Free of torch; knows no running."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

CA_LOST_AT_MOST = 0.01
"""By the upper bound."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One recipe on one model: the worst ASR and the clean accuracy lost, values and upper bounds."""

    worst_asr: float
    worst_asr_high: float
    ca_lost: float
    ca_lost_high: float


def choose(by_recipe: Mapping[str, Outcome]) -> str:
    """The least upper bound of the worst ASR among recipes within `CA_LOST_AT_MOST`; where none is, the least
    upper bound of clean accuracy lost. The first of equals. Raises ValueError without a recipe."""
    within = {name: one for name, one in by_recipe.items() if one.ca_lost_high <= CA_LOST_AT_MOST}
    if within:
        return min(within, key=lambda name: within[name].worst_asr_high)
    return min(by_recipe, key=lambda name: by_recipe[name].ca_lost_high)


@dataclass(frozen=True, kw_only=True)
class Regret:
    """What a choice cost beside the best that `choose` would make if it knew the true triggers."""

    chosen: str
    best: str
    asr: float
    ca_lost: float


def regret(chosen: str, truth: Mapping[str, Outcome], *, best: str) -> Regret:
    """Differences of true values; negative where the choice is better in one of the two."""
    return Regret(
        chosen=chosen,
        best=best,
        asr=truth[chosen].worst_asr - truth[best].worst_asr,
        ca_lost=truth[chosen].ca_lost - truth[best].ca_lost,
    )


def spearman(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Spearman's rank correlation, equal values by their mean rank; None of fewer than three pairs, and where
    all values of a side are equal."""
    first, second = _ranks(one), _ranks(other)
    if len(first) < 3:
        return None
    middle = mean(first)
    spreads = [sum((rank - middle) ** 2 for rank in ranks) for ranks in (first, second)]
    if 0 in spreads:
        return None
    together = sum((a - middle) * (b - middle) for a, b in zip(first, second, strict=True))
    return float(together / (spreads[0] * spreads[1]) ** 0.5)


def _ranks(values: Sequence[float]) -> list[float]:
    return [
        sum(other < value for other in values) + (sum(other == value for other in values) + 1) / 2
        for value in values
    ]
