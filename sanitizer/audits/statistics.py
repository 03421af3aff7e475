"""Intervals: Wilson for a share, Newcombe for a paired difference, Student for a mean. Knows no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence

from cleanclip.spec.measures import Z_95, Difference, Estimate, MeanDistance


def wilson(successes: int, n: int) -> Estimate:
    """A share with its 95 % Wilson score interval (Wilson 1927), without continuity correction.

    n = 0 says nothing: value 0, bounds 0 and 1. Raises ValueError unless 0 <= successes <= n.
    """
    low, high = wilson_bounds(successes, n)
    return Estimate(value=successes / n if n else 0.0, n=n, successes=successes, low=low, high=high)


def wilson_bounds(successes: int, n: int, z: float = Z_95) -> tuple[float, float]:
    """(low, high) of `wilson`; exactly 0 and 1 at the ends, where rounding would miss them by 1e-17.

    `z`: the point of the normal distribution that the interval's level has; that of 95 %.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n} is not a share")
    if n == 0:
        return 0.0, 1.0
    share, z2 = successes / n, z * z
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = z * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return low, high


def paired_difference(correct_before: Sequence[bool], correct_after: Sequence[bool]) -> Difference:
    """Share right before minus share right after, same images in the same order, with its 95 % interval.

    Takes any sequence of booleans, a bool tensor [N] too. Raises ValueError if the lengths differ or are 0.
    """
    before, after = [bool(right) for right in correct_before], [bool(right) for right in correct_after]
    if len(before) != len(after) or not before:
        raise ValueError(f"not the same images: {len(before)} before, {len(after)} after")
    pairs = list(zip(before, after, strict=True))
    return newcombe(
        both=pairs.count((True, True)),
        lost=pairs.count((True, False)),
        gained=pairs.count((False, True)),
        neither=pairs.count((False, False)),
    )


def newcombe(*, both: int, lost: int, gained: int, neither: int) -> Difference:
    """Method 10 of Newcombe, Statistics in Medicine 17:2635-2650 (1998): paired difference of two shares.

    Two Wilson intervals, combined with the correlation phi of the 2 x 2 table; a positive phi has its
    numerator continuity-corrected. Raises ValueError if the table is empty.
    """
    n = both + lost + gained + neither
    if n == 0 or min(both, lost, gained, neither) < 0:
        raise ValueError("a paired difference needs at least one pair")
    before, after = (both + lost) / n, (both + gained) / n
    low_before, high_before = wilson_bounds(both + lost, n)
    low_after, high_after = wilson_bounds(both + gained, n)
    phi = _phi(both, lost, gained, neither)
    down = _combine(before - low_before, high_after - after, phi)
    up = _combine(high_before - before, after - low_after, phi)
    difference = (lost - gained) / n
    return Difference(
        value=difference,
        n=n,
        lost=lost,
        gained=gained,
        low=max(-1.0, difference - down),
        high=min(1.0, difference + up),
    )


def _phi(both: int, lost: int, gained: int, neither: int) -> float:
    margins = (both + lost) * (gained + neither) * (both + gained) * (lost + neither)
    if margins == 0:
        return 0.0
    n = both + lost + gained + neither
    product = both * neither - lost * gained
    numerator = max(product - n / 2, 0.0) if product > 0 else float(product)
    return numerator / math.sqrt(margins)


def _combine(one: float, other: float, phi: float) -> float:
    """The length of a side of a triangle whose other sides enclose the angle arccos(phi)."""
    return math.sqrt(max(0.0, one * one - 2 * phi * one * other + other * other))


MAX_DISTANCE = 2.0
"""Of opposite directions, by cosine."""


def mean_distance(distances: Sequence[float]) -> MeanDistance:
    """The mean of cosine distances with Student's 95 % interval, cut to 0 and 2; of a single one it is all.

    Raises ValueError if there is none.
    """
    n = len(distances)
    if n == 0:
        raise ValueError("a mean needs at least one distance")
    mean = math.fsum(distances) / n
    std = math.sqrt(math.fsum((one - mean) ** 2 for one in distances) / (n - 1)) if n > 1 else 0.0
    low, high = distance_interval(mean, std, n)
    return MeanDistance(mean=mean, n=n, std=std, low=low, high=high)


def distance_interval(mean: float, std: float, n: int) -> tuple[float, float]:
    """(low, high) of `mean_distance`."""
    if n == 1:
        return 0.0, MAX_DISTANCE
    half = student_95(n - 1) * std / math.sqrt(n)
    return max(0.0, mean - half), min(MAX_DISTANCE, mean + half)


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
