"""Rows of a page's tables: shares and ranks, before and after, and measured numbers in words.

A figure is printed with two decimals; for programs the exact value is beside it, in a `data` element whose
`data-figure` is its path in report.json. Computes nothing but "100 times".
"""

from dataclasses import dataclass

from cleanclip.vocabulary.figures import Line
from cleanclip.vocabulary.measures import Difference, Estimate, MeanDistance, RankDistribution


@dataclass(frozen=True, kw_only=True)
class Share:
    """One measured share; `path` leads to it in report.json."""

    path: str
    estimate: Estimate


@dataclass(frozen=True, kw_only=True)
class Rank:
    """The place of a target; `path` leads to it in report.json."""

    path: str
    distribution: RankDistribution


@dataclass(frozen=True, kw_only=True)
class Row:
    """One figure before and, where there was a cleaning, after: shares, or ranks."""

    title: str
    meaning: str
    shares: tuple[Share, ...] = ()
    ranks: tuple[Rank, ...] = ()


def points(lost: Difference) -> str:
    """Clean accuracy lost, in points, with its interval and n."""
    return (
        f"{100 * lost.value:.2f} points (95 % interval {100 * lost.low:.2f} to {100 * lost.high:.2f}, "
        f"n = {lost.n} images, the same before and after)"
    )


def distance(drift: MeanDistance) -> str:
    """A mean distance with its interval and n."""
    return f"{drift.mean:.4f} (95 % interval {drift.low:.4f} to {drift.high:.4f}, n = {drift.n})"


def row_of(line: Line, title: str | None = None) -> Row:
    """A line of the table of figures, under a title of its own or another."""
    shares, ranks = [], []
    for side, value in line.sides():
        path = ".".join(map(str, (side, *line.steps)))
        if isinstance(value, Estimate):
            shares.append(Share(path=path, estimate=value))
        else:
            ranks.append(Rank(path=path, distribution=value))
    return Row(title=title or line.title, meaning=line.meaning, shares=tuple(shares), ranks=tuple(ranks))
