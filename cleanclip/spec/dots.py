"""Dots of a plot that would cover each other, as one dot and a count."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

APART = 8.0
"""Dots that are nearer than this, in units of the drawing, cover each other."""


@dataclass(frozen=True, kw_only=True)
class Dot:
    """`num` values that lie together, at the mean of their places."""

    at: float
    num: int


def dots(places: Iterable[float]) -> tuple[Dot, ...]:
    """From left to right; every dot's values lie within `APART`."""
    together: list[list[float]] = []
    for place in sorted(places):
        if together and place - together[-1][0] < APART:
            together[-1].append(place)
        else:
            together.append([place])
    return tuple(Dot(at=round(sum(one) / len(one), 1), num=len(one)) for one in together)
