"""Whether one figure fits itself: value and interval its counts, counts those that they should be."""

from __future__ import annotations

import math
from collections.abc import Iterator

from cleanclip.evidence.findings import Finding, misfit
from cleanclip.spec.intervals import newcombe, wilson
from cleanclip.spec.measures import Difference, Estimate

_TOLERANCE = 1e-9


def close(one: float, other: float) -> bool:
    """Equal but for the last digits."""
    return math.isclose(one, other, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)


def same(where: str, told: object, expected: object) -> Iterator[Finding]:
    """Whether a thing is what the rest of the report makes of it."""
    if told != expected:
        shown = f"is {told}, not {expected}" if isinstance(told, int | float) else "is not that of the rest"
        yield misfit(where, shown)


def estimate(where: str, share: Estimate, n: int) -> Iterator[Finding]:
    """A share of `n`."""
    yield from same(f"{where}.n", share.n, n)
    yield from same(f"{where}.confidence", share.confidence, 0.95)
    if share.successes > share.n:
        yield misfit(f"{where}.successes", f"is {share.successes} of {share.n}")
        return
    expected = wilson(share.successes, share.n)
    counts = f"successes {share.successes} of n {share.n}"
    yield from _recomputed(where, (share.value, share.low, share.high), expected, counts)


def difference(where: str, lost: Difference, before: Estimate, after: Estimate) -> Iterator[Finding]:
    """What was lost between two shares of the same."""
    yield from same(f"{where}.n", lost.n, before.n)
    yield from same(f"{where}.confidence", lost.confidence, 0.95)
    if before.successes - lost.lost + lost.gained != after.successes:
        yield misfit(where, "does not lead from the successes before to those after")
        return
    both = before.successes - lost.lost
    neither = lost.n - both - lost.lost - lost.gained
    if min(both, neither) < 0 or lost.n == 0:
        yield misfit(where, "counts more images than there are")
        return
    expected = newcombe(both=both, lost=lost.lost, gained=lost.gained, neither=neither)
    counts = f"lost {lost.lost} and gained {lost.gained} of n {lost.n}"
    yield from _recomputed(where, (lost.value, lost.low, lost.high), expected, counts)


def _recomputed(
    where: str, told: tuple[float, float, float], expected: tuple[float, float, float], counts: str
) -> Iterator[Finding]:
    wrong = [
        (name, is_told, should)
        for name, is_told, should in zip(("value", "low", "high"), told, expected, strict=True)
        if not close(is_told, should)
    ]
    if not wrong:
        return
    name, is_told, should = wrong[0]
    shown_told, shown_should = _apart(is_told, should)
    if len(wrong) > 1:
        yield misfit(where, f"does not fit itself: {counts} give {name} {shown_should}, not {shown_told}")
    else:
        yield misfit(f"{where}.{name}", f"is {shown_told}, but {counts} give {shown_should}")


def _apart(one: float, other: float) -> tuple[str, str]:
    """Two different numbers in six digits each, in all of them where six are the same."""
    short = f"{one:.6g}", f"{other:.6g}"
    return short if short[0] != short[1] else (repr(one), repr(other))
