"""Shares, paired differences and means from what was counted.

Their intervals follow from the counts (`cleanclip.vocabulary.measures`).
"""

import math
from collections.abc import Sequence

from cleanclip.vocabulary.measures import Difference, Estimate, MeanDistance


def wilson(successes: int, n: int) -> Estimate:
    """A share with its 95 % Wilson score interval. Raises ValueError unless 0 <= successes <= n."""
    return Estimate(n=n, successes=successes)


def paired_difference(correct_before: Sequence[bool], correct_after: Sequence[bool]) -> Difference:
    """Share right before minus share right after, same images in the same order, with its 95 % interval.

    Takes any sequence of booleans, a bool tensor [N] too. Raises ValueError if the lengths differ or are 0.
    """
    before, after = [bool(right) for right in correct_before], [bool(right) for right in correct_after]
    if len(before) != len(after) or not before:
        raise ValueError(f"not the same images: {len(before)} before, {len(after)} after")
    pairs = list(zip(before, after, strict=True))
    return Difference(
        n=len(pairs),
        both=pairs.count((True, True)),
        lost=pairs.count((True, False)),
        gained=pairs.count((False, True)),
    )


def mean_distance(distances: Sequence[float]) -> MeanDistance:
    """The mean of cosine distances with Student's 95 % interval. Raises ValueError if there is none."""
    n = len(distances)
    if n == 0:
        raise ValueError("a mean needs at least one distance")
    mean = math.fsum(distances) / n
    std = math.sqrt(math.fsum((one - mean) ** 2 for one in distances) / (n - 1)) if n > 1 else 0.0
    return MeanDistance(mean=mean, n=n, std=std)
