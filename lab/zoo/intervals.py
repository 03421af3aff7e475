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
from scipy import stats

from cleanclip.spec.intervals import Z_95

Floats = NDArray[np.float64]


class Interval(NamedTuple):
    """A value between its bounds, which hold with 95 %."""

    value: float
    low: float
    high: float


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
    low = stats.beta.ppf(0.025, successes, n - successes + 1) if successes else 0.0
    high = stats.beta.ppf(0.975, successes + 1, n - successes) if successes < n else 1.0
    return Interval(successes / n, float(low), float(high))


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
