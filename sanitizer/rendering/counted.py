"""Whether a figure of a report follows from its own counts. Knows one figure at a time."""

from __future__ import annotations

from collections.abc import Iterator

from cleanclip.spec.report import Difference, Estimate
from sanitizer.audits.statistics import wilson_bounds

MAX_COUNT = 2**53
_TOLERANCE = 1e-9


def follows(estimate: Estimate) -> bool:
    """Whether value and interval are those of the counts."""
    if not 0 <= estimate.successes <= estimate.n <= MAX_COUNT:
        return False
    value = estimate.successes / estimate.n if estimate.n else 0.0
    expected = (value, *wilson_bounds(estimate.successes, estimate.n))
    told = (estimate.value, estimate.low, estimate.high)
    return all(abs(one - other) <= _TOLERANCE for one, other in zip(told, expected, strict=True))


def difference(where: str, lost: Difference) -> Iterator[tuple[str, str]]:
    """What does not fit in it, with its place."""
    is_sound = (
        0 < lost.n <= MAX_COUNT and min(lost.lost, lost.gained) >= 0 and lost.lost + lost.gained <= lost.n
    )
    if not is_sound or abs(lost.value - (lost.lost - lost.gained) / lost.n) > _TOLERANCE:
        yield where, "does not follow from its counts"
    elif not -1 <= lost.low <= lost.value <= lost.high <= 1:
        yield where, "lies outside of its interval"
