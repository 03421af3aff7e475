"""Whether the drift of the embeddings fits itself: the interval of a mean from deviation and count.

Student's interval is worked out apart from the service: its 97.5 % point by halving, its probability by
Simpson's rule over the density.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache

from cleanclip.evidence.findings import Finding, misfit
from cleanclip.spec.report import EmbeddingDrift, MeanDistance, Report

_TOLERANCE = 1e-7
_STEPS = 2000
_MANY = 10**6
"""Of so many and more the 97.5 % point is the normal's, to six digits."""


def in_order(told: EmbeddingDrift) -> dict[str, list[float]]:
    """As the statement repeats it: what no arithmetic can be held against."""
    return {"images": [told.images.mean, told.images.std], "classes": [told.classes.mean, told.classes.std]}


def check(report: Report, num_images: int, num_classes: int | None) -> Iterator[Finding]:
    """There after a cleaning and nowhere else, and in itself."""
    told = report.drift
    if (told is None) != (report.after is None):
        yield misfit("drift", "belongs to an audit after cleaning")
    if told is None:
        return
    yield from _distance("drift.images", told.images, num_images)
    yield from _distance("drift.classes", told.classes, num_classes or told.classes.n)


def _distance(where: str, told: MeanDistance, n: int) -> Iterator[Finding]:
    if told.n != n or n == 0:
        yield misfit(f"{where}.n", f"is {told.n}, not {n}")
        return
    if told.confidence != 0.95:
        yield misfit(f"{where}.confidence", f"is {told.confidence}, not 0.95")
    if not 0 <= told.mean <= 2:
        yield misfit(f"{where}.mean", f"is {told.mean:.6g}, out of 0 to 2")
        return
    # Of n values from 0 to 2 with this mean none spread more than those that are all 0 or 2.
    widest = math.sqrt(told.mean * (2 - told.mean) * n / max(1, n - 1))
    if not 0 <= told.std <= widest + _TOLERANCE:
        yield misfit(f"{where}.std", f"is {told.std:.6g}, out of 0 to {widest:.6g}")
        return
    half = student(n - 1) * told.std / math.sqrt(n) if n > 1 else 2.0
    expected = {"low": max(0.0, told.mean - half), "high": min(2.0, told.mean + half)}
    for name, should in expected.items():
        if abs(getattr(told, name) - should) > _TOLERANCE:
            yield misfit(f"{where}.{name}", f"is {getattr(told, name):.6g}, not {should:.6g}")


@lru_cache(maxsize=8)
def student(freedom: int) -> float:
    """The 97.5 % point of Student's t."""
    freedom = min(freedom, _MANY)
    low, high = 1.9, 13.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if _half_within(middle, freedom) < 0.475 else (low, middle)
    return (low + high) / 2


def _half_within(t: float, freedom: int) -> float:
    """P(0 <= T <= t)."""
    top = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(freedom * math.pi)

    def density(x: float) -> float:
        return top * math.exp(-(freedom + 1) / 2 * math.log1p(x * x / freedom))

    width = t / _STEPS
    inside = sum((4 if step % 2 else 2) * density(step * width) for step in range(1, _STEPS))
    return width / 3 * (density(0) + inside + density(t))
