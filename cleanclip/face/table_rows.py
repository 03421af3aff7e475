"""Rows of a page's tables: shares and ranks, before and after, and measured numbers in words.

A figure is printed with two decimals; for programs the exact value is beside it, in a `data` element whose
`data-figure` is its path in report.json. Computes nothing but "100 times".
"""

from dataclasses import dataclass

from cleanclip.vocabulary.figures import Line
from cleanclip.vocabulary.measures import Difference, Estimate, MeanDistance, RankDistribution
from cleanclip.vocabulary.sections import Section


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


def section_words(section: Section) -> str:
    """What a section found, in a sentence."""
    found = "; ".join(f"{one.title} {_figure(one.figure)}" for one in section.figures())
    return f"{section.title}, {section.meaning}: {found}."


def _figure(figure: Estimate | MeanDistance) -> str:
    """With its interval and n."""
    if isinstance(figure, Estimate):
        return figure.words
    mean, low, high = (f"{one:.4f}" for one in (figure.mean, figure.low, figure.high))
    return f"mean {mean} (95 % interval {low} to {high}, n = {figure.n})"


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
