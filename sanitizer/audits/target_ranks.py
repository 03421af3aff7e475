"""Where a class stands among all: median with its interval, quartiles.

Quantiles are places that were seen: the p-quantile of N sorted places is that of number ceil(p N), the first
under or at which at least the share p lies. The interval of the median is made of places too, of numbers j
and N + 1 - j: it misses the median of what the images were drawn from with the probability of getting fewer
than j heads, or fewer than j tails, from N fair coins, whatever the distribution is. With ties, which places
always have, it misses less often.
"""

import math
from collections.abc import Iterable

from cleanclip.vocabulary.measures import RankDistribution

_MISSED_ON_A_SIDE = 0.025


def rank_distribution(num_before: Iterable[int], *, num_classes: int) -> RankDistribution:
    """Of a class that so many others come before (`zero_shot.rank_of_label`), in at least one image."""
    places = sorted(before + 1 for before in num_before)
    n = len(places)
    number = median_bound(n)
    return RankDistribution(
        n=n,
        median=places[_number(n, 2, 4)],
        low=places[number - 1] if number else 1,
        high=places[n - number] if number else num_classes,
        first_quartile=places[_number(n, 1, 4)],
        third_quartile=places[_number(n, 3, 4)],
    )


def _number(n: int, numerator: int, denominator: int) -> int:
    """ceil(p n), counted from 0."""
    return -(-n * numerator // denominator) - 1


def median_bound(n: int) -> int:
    """The largest j with P(fewer than j heads of n) <= 2.5 %; 0 if there is none: n under 6."""
    # Ten standard deviations under the middle nothing is left that a float could add.
    first = max(0, math.floor(n / 2 - 5 * math.sqrt(n)) - 1)
    fewer, number = 0.0, first
    while True:
        fewer += _heads(number, n)
        if fewer > _MISSED_ON_A_SIDE:
            return number
        number += 1


def _heads(number: int, n: int) -> float:
    """P(`number` heads of n)."""
    ways = math.lgamma(n + 1) - math.lgamma(number + 1) - math.lgamma(n - number + 1)
    return math.exp(ways - n * math.log(2))
