"""Intervals, written a second time from the papers: plain Python, one share at a time."""

import math
from fractions import Fraction
from statistics import NormalDist
from typing import Any


def wilson(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The two shares p that solve (share - p)^2 = z^2 p (1 - p) / n, found by bisection, not by a formula."""
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    if n == 0:
        return 0.0, 1.0
    share = successes / n

    def excess(p: float) -> float:
        return (share - p) ** 2 - z * z * p * (1 - p) / n

    low, high = 0.0, 1.0
    if successes > 0:
        low = _root(excess, 0.0, share)
    if successes < n:
        high = _root(excess, 1.0, share)
    return low, high


def _root(function: Any, outside: float, inside: float) -> float:
    """Where the function, positive outside and not positive inside, changes sign."""
    for _ in range(200):
        middle = (outside + inside) / 2
        if function(middle) > 0:
            outside = middle
        else:
            inside = middle
    return (outside + inside) / 2


def newcombe(before: list[bool], after: list[bool]) -> tuple[float, float, float]:
    """(difference, low, high) of method 10 of Newcombe 1998, counted image by image."""
    n = len(before)
    a = b = c = d = 0
    for was, now in zip(before, after, strict=True):
        if was and now:
            a += 1
        elif was:
            b += 1
        elif now:
            c += 1
        else:
            d += 1
    phi = 0.0
    margins = (a + b) * (c + d) * (a + c) * (b + d)
    if margins > 0:
        numerator: float = a * d - b * c
        if numerator > n / 2:
            numerator -= n / 2
        elif numerator >= 0:
            numerator = 0
        phi = numerator / margins**0.5
    p1, p2 = (a + b) / n, (a + c) / n
    l1, u1 = wilson(a + b, n)
    l2, u2 = wilson(a + c, n)
    delta = ((p1 - l1) ** 2 - 2 * phi * (p1 - l1) * (u2 - p2) + (u2 - p2) ** 2) ** 0.5
    epsilon = ((p2 - l2) ** 2 - 2 * phi * (p2 - l2) * (u1 - p1) + (u1 - p1) ** 2) ** 0.5
    return p1 - p2, p1 - p2 - delta, p1 - p2 + epsilon


def rank_figures(places: list[int], num_classes: int) -> dict[str, int]:
    """Quartiles and the median with its interval, all in fractions.

    The p-quantile is the first place that at least the share p of all places does not pass.
    """
    n = len(places)

    def quantile(share: Fraction) -> int:
        return next(
            place
            for place in range(1, num_classes + 1)
            if Fraction(sum(one <= place for one in places), n) >= share
        )

    low, high = 1, num_classes
    in_order = sorted(places)
    ways = 0  # of n tosses with fewer than j heads, out of 2 ** n
    for j in range(1, n // 2 + 1):
        ways += math.comb(n, j - 1)
        if Fraction(ways, 2**n) > Fraction(25, 1000):
            break
        low, high = in_order[j - 1], in_order[-j]
    return {
        "n": n,
        "median": quantile(Fraction(1, 2)),
        "low": low,
        "high": high,
        "first_quartile": quantile(Fraction(1, 4)),
        "third_quartile": quantile(Fraction(3, 4)),
    }
