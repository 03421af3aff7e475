"""Intervals by plain arithmetic, so that a figure can be recomputed by hand: all of them follow from counts.

Wilson's score interval of a share (1927), method 10 of Newcombe for the difference of two shares of the same
images (Statistics in Medicine 17:2635-2650, 1998), Student's for a mean. `tests.numerics` holds them to SciPy
and to forms of its own.
"""

import math
from functools import lru_cache
from statistics import NormalDist

Z_95 = 1.959963984540054
"""The 97.5 % point of the normal distribution: two-sided 95 %."""
MAX_DISTANCE = 2.0
"""Of opposite directions, by cosine."""


def wilson(successes: int, n: int, z: float = Z_95) -> tuple[float, float]:
    """(low, high) of `successes` in `n`, 0 <= successes <= n; exactly 0 and 1 at the ends, where rounding
    would miss them. n = 0 says nothing: (0, 1).

    `z`: the point of the normal distribution that the interval's level has; that of 95 %.
    """
    if n == 0:
        return 0.0, 1.0
    share, z2 = successes / n, z * z
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = z * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return low, high


def low_of_highest(successes: int, n: int, num_points: int) -> float:
    """The lower bound, with 95 %, of the highest of `num_points` shares of which this is the highest counted.

    Wilson's at a two-sided level of 0.05 / num_points: if the highest true share lies under it, so does the
    true share of the point that was counted, and one of num_points bounds has missed (Bonferroni).
    """
    return wilson(successes, n, NormalDist().inv_cdf(1 - 0.025 / num_points))[0]


def newcombe(*, both: int, lost: int, gained: int, neither: int) -> tuple[float, float]:
    """(low, high) of the share right before minus the share right after; n is not 0.

    Two Wilson intervals, combined with the correlation phi of the 2 x 2 table; a positive phi has its
    numerator continuity-corrected.
    """
    n = both + lost + gained + neither
    before, after = (both + lost) / n, (both + gained) / n
    low_before, high_before = wilson(both + lost, n)
    low_after, high_after = wilson(both + gained, n)
    margins = (both + lost) * (gained + neither) * (both + gained) * (lost + neither)
    excess: float = both * neither - lost * gained
    if excess > 0:
        excess = max(excess - n / 2, 0.0)
    phi = excess / math.sqrt(margins) if margins else 0.0
    down = _third_side(before - low_before, high_after - after, phi)
    up = _third_side(high_before - before, after - low_after, phi)
    value = (lost - gained) / n
    return max(value - down, -1.0), min(value + up, 1.0)


def _third_side(one: float, other: float, cosine: float) -> float:
    return math.sqrt(max(one * one - 2 * cosine * one * other + other * other, 0.0))


def student(mean: float, std: float, n: int) -> tuple[float, float]:
    """(low, high) of the mean of `n` cosine distances, cut to 0 and 2; of a single one it is all."""
    if n == 1:
        return 0.0, MAX_DISTANCE
    half = student_95(n - 1) * std / math.sqrt(n)
    return max(0.0, mean - half), min(MAX_DISTANCE, mean + half)


@lru_cache(maxsize=64)
def student_95(freedom: int) -> float:
    """The 97.5 % point of Student's t with so many degrees of freedom (1 or more), to 1e-9.

    From 1,000 on by its expansion around the normal's (Abramowitz and Stegun 26.7.5), below by halving.
    """
    z = Z_95
    if freedom >= 1000:
        first = (z**3 + z) / 4
        second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
        third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
        return z + first / freedom + second / freedom**2 + third / freedom**3
    low, high = z, 13.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, freedom) < 0.95 else (low, middle)
    return (low + high) / 2


def _within(t: float, freedom: int) -> float:
    """P(|T| <= t) of Student's T: a finite sum (Abramowitz and Stegun 26.7.3 and 26.7.4)."""
    angle = math.atan(t / math.sqrt(freedom))
    cosine2 = math.cos(angle) ** 2
    is_odd = freedom % 2
    term = math.cos(angle) if is_odd else 1.0
    total = term if freedom > 1 else 0.0
    for power in range(2 + is_odd, freedom - 1, 2):
        term *= cosine2 * (power - 1) / power
        total += term
    share = math.sin(angle) * total
    return 2 / math.pi * (angle + share) if is_odd else share
