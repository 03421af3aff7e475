"""Whether the place of a target fits the shares beside it, which count the images up to some places.

The p-quantile of n places is that of number ceil(p n). The median's interval goes from number j to number
n + 1 - j, j the largest with P(fewer than j heads of n fair coins) <= 2.5 %; with none the places are the
first and the last.
"""

import math
from collections.abc import Iterator
from functools import lru_cache

from cleanclip.evidence.findings import Finding, misfit
from cleanclip.vocabulary.audit_figures import AuditFigures, TargetFigures
from cleanclip.vocabulary.measures import Estimate, RankDistribution, TopK

TopK_ = tuple[TopK, ...]
_MOST_IMAGES = 100_000
"""Above it the interval is held to the median alone: exact binomials would take seconds."""


def floors(where: str, figures: AuditFigures) -> list[tuple[str, AuditFigures | TargetFigures]]:
    """What is said of each target without a trigger, the audit's own first, with its path."""
    further = [
        (f"{where}.further_targets[{index}]", one) for index, one in enumerate(figures.further_targets)
    ]
    return [(where, figures), *further]


def of_audit(where: str, figures: AuditFigures) -> list[tuple[str, RankDistribution, Estimate, TopK_]]:
    """Every place of a target in one audit, with its path and the shares beside it: floors, then attacks."""
    return [
        *(
            (
                f"{inside}.untriggered_target_rank",
                one.untriggered_target_rank,
                one.untriggered_target_rate,
                one.untriggered_target_top_k,
            )
            for inside, one in floors(where, figures)
        ),
        *(
            (f"{where}.attacks[{index}].target_rank", one.target_rank, one.asr, one.asr_top_k)
            for index, one in enumerate(figures.attacks)
        ),
    ]


def check(where: str, figures: AuditFigures, num_classes: int | None) -> Iterator[Finding]:
    """Of every target, without a trigger and with one."""
    for place, rank, first, top_k in of_audit(where, figures):
        yield from _check(place, rank, first, top_k, num_classes)


def _check(
    where: str, reported: RankDistribution, first: Estimate, top_k: TopK_, num_classes: int | None
) -> Iterator[Finding]:
    """`first` counts the images that have the target in the first place, `top_k` those up to a place k."""
    if reported.n != first.n or reported.n == 0:
        yield misfit(f"{where}.n", f"is {reported.n}, not {first.n}")
        return
    if not reported.low <= reported.median <= reported.high:
        yield misfit(where, "has its median outside of the interval")
    if not reported.first_quartile <= reported.median <= reported.third_quartile:
        yield misfit(where, "has its median outside of the quartiles")
    up_to = {1: first.successes, **{one.k: one.share.successes for one in top_k}}
    if num_classes is not None:
        up_to[num_classes] = reported.n
    for name, number in _numbers(reported.n).items():
        place = getattr(reported, name)
        if any((place <= k) != (number <= successes) for k, successes in up_to.items()):
            yield misfit(f"{where}.{name}", f"is {place}, which the counts of the first places exclude")
    if reported.n < 6 and (reported.low != 1 or reported.high != (num_classes or reported.high)):
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
