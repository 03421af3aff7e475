"""Figures of merit and their intervals, written out: nothing here knows a model. Free of torch.

Scores are the larger, the more suspicious. n null scores, m scores of poisoned models.

Sources: DeLong, DeLong and Clarke-Pearson, Biometrics 44 (1988); Clopper and Pearson, Biometrika 26 (1934);
conformal p-values, Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World (2005).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cleanclip.spec.measures import Z_95

Floats = NDArray[np.float64]


class Interval(NamedTuple):
    """A value between its bounds, which hold with 95 %."""

    value: float
    low: float
    high: float


def auroc(null_n: Sequence[float], poisoned_m: Sequence[float]) -> float:
    """The share of pairs in which the poisoned model scores higher; ties count half. O((n + m) log)."""
    null, poisoned = _checked(null_n, poisoned_m)
    ranks = _mid_ranks(np.concatenate([null, poisoned]))
    wins = ranks[len(null) :].sum() - len(poisoned) * (len(poisoned) + 1) / 2
    return float(wins / (len(null) * len(poisoned)))


def delong(null_n: Sequence[float], poisoned_m: Sequence[float]) -> Interval:
    """AUROC with DeLong's interval, cut to [0, 1].

    Its variance is that of the placements: V10 of each poisoned model is the share of null models below it,
    V01 of each null model the share of poisoned ones above it; var = S10/m + S01/n. At an AUROC of exactly 0
    or 1 it is 0, whatever n and m: there the interval says nothing. With one model of a kind the bounds are
    0 and 1.
    """
    null, poisoned = _checked(null_n, poisoned_m)
    n, m = len(null), len(poisoned)
    among_all = _mid_ranks(np.concatenate([null, poisoned]))
    below_m = (among_all[n:] - _mid_ranks(poisoned)) / n
    above_n = 1 - (among_all[:n] - _mid_ranks(null)) / m
    value = float(below_m.mean())
    if min(n, m) < 2:
        return Interval(value, 0.0, 1.0)
    deviation = math.sqrt(below_m.var(ddof=1) / m + above_n.var(ddof=1) / n)
    return Interval(value, max(0.0, value - Z_95 * deviation), min(1.0, value + Z_95 * deviation))


def clopper_pearson(successes: int, n: int) -> Interval:
    """The exact 95 % interval of a binomial share, both tails 2.5 %; of no trial 0 to 1."""
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n}")
    if n == 0:
        return Interval(math.nan, 0.0, 1.0)
    # P(X ≥ s | p) rises with p from 0 to 1: the lower bound is where it reaches 2.5 %; the upper by symmetry.
    low = 0.0 if successes == 0 else _where_tail_is(0.025, successes, n)
    high = 1.0 if successes == n else 1 - _where_tail_is(0.025, n - successes, n)
    return Interval(successes / n, low, high)


def _checked(null_n: Sequence[float], poisoned_m: Sequence[float]) -> tuple[Floats, Floats]:
    null, poisoned = np.asarray(null_n, dtype=np.float64), np.asarray(poisoned_m, dtype=np.float64)
    if not len(null) or not len(poisoned):
        raise ValueError(f"{len(null)} null models and {len(poisoned)} poisoned ones: one of each is needed")
    if np.isnan(null).any() or np.isnan(poisoned).any():
        raise ValueError("a score is NaN")
    return null, poisoned


def _mid_ranks(score_n: Floats) -> Floats:
    """Ranks from 1, equal scores share the mean of theirs."""
    _, which_n, count_k = np.unique(score_n, return_inverse=True, return_counts=True)
    last_k = np.cumsum(count_k)
    ranks: Floats = (last_k - (count_k - 1) / 2)[which_n]
    return ranks


def _where_tail_is(tail: float, successes: int, n: int) -> float:
    """The p at which P(X ≥ successes) = tail, X binomial of n and p; by bisection to the last bit."""
    low, high = 0.0, 1.0
    while (middle := (low + high) / 2) not in (low, high):
        if _upper_tail(successes, n, middle) < tail:
            low = middle
        else:
            high = middle
    return middle


def _upper_tail(successes: int, n: int, p: float) -> float:
    return math.fsum(
        math.exp(_log_choose(n, k) + k * math.log(p) + (n - k) * math.log1p(-p))
        for k in range(successes, n + 1)
    )


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
