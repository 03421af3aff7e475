"""Rows of a page's tables: shares and ranks, before and after, and measured numbers in words.

A figure is printed with two decimals; for programs the exact value is beside it, in a `data` element whose
`data-figure` is its path in report.json. Computes nothing but "100 times".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cleanclip.spec.report import Difference, Estimate, MeanDistance, RankDistribution, TopK


@dataclass(frozen=True, kw_only=True)
class Share:
    """One measured share; `path` leads to it in report.json."""

    path: str
    estimate: Estimate

    @property
    def percent(self) -> str:
        return percent(self.estimate.value)

    @property
    def interval(self) -> str:
        return f"{100 * self.estimate.low:.2f} to {percent(self.estimate.high)}"


@dataclass(frozen=True, kw_only=True)
class Rank:
    """The place of a target; `path` leads to it in report.json."""

    path: str
    told: RankDistribution


@dataclass(frozen=True, kw_only=True)
class Row:
    """One figure before and, where there was a cleaning, after: shares, or ranks."""

    title: str
    meaning: str
    shares: tuple[Share, ...] = ()
    ranks: tuple[Rank, ...] = ()


def percent(share: float) -> str:
    """0.125 is "12.50 %"."""
    return f"{100 * share:.2f} %"


def points(lost: Difference) -> str:
    """Clean accuracy lost, in points, with its interval and n."""
    return (
        f"{100 * lost.value:.2f} points (95 % interval {100 * lost.low:.2f} to {100 * lost.high:.2f}, "
        f"n = {lost.n} pictures, the same before and after)"
    )


def distance(told: MeanDistance) -> str:
    """A mean distance with its interval and n."""
    return f"{told.mean:.4f} (95 % interval {told.low:.4f} to {told.high:.4f}, n = {told.n})"


def shares(sides: Sequence[tuple[str, Any]], figure: str) -> tuple[Share, ...]:
    return tuple(
        Share(path=f"{path}.{figure}", estimate=getattr(measured, figure))
        for path, measured in sides
        if measured is not None
    )


def top_k_rows(title: str, meaning: str, sides: list[tuple[str, tuple[TopK, ...]]]) -> list[Row]:
    """A row for every k, which are the same on all sides (`reading.check`)."""
    return [
        Row(
            title=f"{title}, top {one.k}",
            meaning=f"{meaning} among the first {one.k}",
            shares=tuple(
                Share(path=f"{path}.{index}.share", estimate=top_k[index].share) for path, top_k in sides
            ),
        )
        for index, one in enumerate(sides[0][1])
    ]


def rank_row(title: str, meaning: str, sides: Sequence[tuple[str, RankDistribution | None]]) -> list[Row]:
    """One row; none where it was not measured yet."""
    ranks = tuple(Rank(path=path, told=told) for path, told in sides if told is not None)
    return [Row(title=f"{title}, rank", meaning=meaning, ranks=ranks)] if ranks else []
