"""Tables and figures as Markdown has them. Knows no model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lab.zoo.intervals import Interval

NOT_YET = "**Not measured yet.**"


def heading(title: str, *content: str) -> str:
    """A section."""
    return "\n\n".join([f"### {title}", *content])


def table(head: Sequence[str], lines: Sequence[str]) -> str:
    """The lines, or that there are none yet."""
    if not lines:
        return NOT_YET
    return "\n".join([cells(*head), "|" + "---|" * len(head), *lines])


def cells(*content: object) -> str:
    """One line of a table."""
    return "|".join(["", *(f" {one} " for one in content), ""])


def bounds(one: Interval) -> str:
    """Of an AUROC."""
    if one.low == one.high:
        return "no overlap"
    return f"{one.low:.3f} to {one.high:.3f}"


def percent(one: Interval) -> str:
    """A share with its interval."""
    return f"{100 * one.value:.0f} % ({100 * one.low:.0f} to {100 * one.high:.0f})"


def value_range(values: Iterable[float]) -> str:
    """Of shares, in percent."""
    found = [100 * value for value in values]
    return f"{min(found):.1f} to {max(found):.1f}" if found else ""
