"""The intervals of the report, by plain arithmetic from counts, so that a figure can be recomputed by hand.

Written from the papers, apart from those that make the figures (`sanitizer.audits.statistics`): Wilson's
score interval (1927), and method 10 of Newcombe (Statistics in Medicine 17:2635, 1998) for the difference of
two shares of the same images.
"""

from __future__ import annotations

import math
from statistics import NormalDist

from cleanclip.spec.measures import Z_95 as Z


def wilson(successes: int, n: int, z: float = Z) -> tuple[float, float, float]:
    """(value, low, high) of `successes` in `n`, 0 <= successes <= n; n = 0 says nothing: (0, 0, 1).

    `z`: the point of the normal distribution that the interval's level has; that of 95 %.
    """
    if n == 0:
        return 0.0, 0.0, 1.0
    p = successes / n
    root = z * math.sqrt(4 * n * p * (1 - p) + z * z)
    low, high = ((2 * n * p + z * z + sign * root) / (2 * (n + z * z)) for sign in (-1, 1))
    return p, low if successes else 0.0, high if successes < n else 1.0


def low_of_highest(successes: int, n: int, num_points: int) -> float:
    """The lower bound, with 95 %, of the highest of `num_points` shares of which this is the highest counted.

    Wilson's at a two-sided level of 0.05 / num_points: if the highest true share lies under it, so does the
    true share of the point that was counted, and one of num_points bounds has missed (Bonferroni).
    """
    return wilson(successes, n, NormalDist().inv_cdf(1 - 0.025 / num_points))[1]


def newcombe(*, both: int, lost: int, gained: int, neither: int) -> tuple[float, float, float]:
    """(value, low, high) of the share right before minus the share right after; n is not 0."""
    n = both + lost + gained + neither
    before, low_before, high_before = wilson(both + lost, n)
    after, low_after, high_after = wilson(both + gained, n)
    margins = (both + lost) * (gained + neither) * (both + gained) * (lost + neither)
    excess = both * neither - lost * gained
    if excess > 0:
        excess = max(excess - n / 2, 0)  # type: ignore[assignment]
    phi = excess / math.sqrt(margins) if margins else 0.0
    value = (lost - gained) / n
    low = value - _third_side(before - low_before, high_after - after, phi)
    high = value + _third_side(high_before - before, after - low_after, phi)
    return value, max(low, -1.0), min(high, 1.0)


def _third_side(one: float, other: float, cosine: float) -> float:
    return math.sqrt(max(one**2 - 2 * cosine * one * other + other**2, 0.0))
