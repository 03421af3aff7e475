"""Whether the place of a target fits the shares beside it, which count the images up to some places.

The p-quantile of n places is that of number ceil(p n). The median's interval goes from number j to number
n + 1 - j, j the largest with P(fewer than j heads of n fair coins) <= 2.5 %; with none the places are the
first and the last.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache

from cleanclip.evidence.findings import Finding, misfit
from cleanclip.evidence.report import AuditFigures, Estimate, RankDistribution, Report, TopK
from cleanclip.evidence.targets import floors

_MOST_IMAGES = 100_000
"""Above it the interval is held to the median alone: exact binomials would take seconds."""


def of_audit(figures: AuditFigures, report: Report) -> list[tuple[str, RankDistribution | None]]:
    """Every place of a target in one audit, with its path: floors first, then attacks."""
    own, *further = (floor.untriggered_target_rank for floor in floors(figures, report).values())
    return [
        ("untriggered_target_rank", own),
        *((f"further_targets[{index}].untriggered_target_rank", one) for index, one in enumerate(further)),
        *((f"attacks[{index}].target_rank", one.target_rank) for index, one in enumerate(figures.attacks)),
    ]


def in_order(told: RankDistribution) -> list[int]:
    """As the statement repeats it."""
    return [told.low, told.first_quartile, told.median, told.third_quartile, told.high]


def check(
    where: str, told: RankDistribution, first: Estimate, top_k: list[TopK], num_classes: int | None
) -> Iterator[Finding]:
    """`first` counts the images that have the target in the first place, `top_k` those up to a place k."""
    if told.n != first.n or told.n == 0:
        yield misfit(f"{where}.n", f"is {told.n}, not {first.n}")
        return
    if told.confidence != 0.95:
        yield misfit(f"{where}.confidence", f"is {told.confidence}, not 0.95")
    if not told.low <= told.median <= told.high:
        yield misfit(where, "has its median outside of the interval")
    if not told.first_quartile <= told.median <= told.third_quartile:
        yield misfit(where, "has its median outside of the quartiles")
    up_to = {1: first.successes, **{one.k: one.share.successes for one in top_k}}
    if num_classes is not None:
        up_to[num_classes] = told.n
    for name, number in _numbers(told.n).items():
        place = getattr(told, name)
        if any((place <= k) != (number <= successes) for k, successes in up_to.items()):
            yield misfit(f"{where}.{name}", f"is {place}, which the counts of the first places exclude")
    if told.n < 6 and (told.low != 1 or told.high != (num_classes or told.high)):
        yield misfit(where, "has an interval that so few images cannot have")


def _numbers(n: int) -> dict[str, int]:
    """Which of the sorted images, counted from 1, each figure is the place of."""
    found = {"first_quartile": -(-n // 4), "median": -(-n // 2), "third_quartile": -(-3 * n // 4)}
    if 6 <= n <= _MOST_IMAGES:
        found |= {"low": median_bound(n), "high": n + 1 - median_bound(n)}
    return found


@lru_cache(maxsize=16)
def median_bound(n: int) -> int:
    """The largest j with P(fewer than j heads of n) <= 2.5 %, in whole numbers; 0 if there is none."""
    heads = max(0, n // 2 - 6 * math.isqrt(n))
    ways = math.comb(n, heads)
    fewer = ways  # what is left out below weighs less than one part in 10^30
    while 40 * fewer <= 2**n:
        ways = ways * (n - heads) // (heads + 1)
        heads += 1
        fewer += ways
    return heads
