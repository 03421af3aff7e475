"""Small pieces of Markdown. Knows nothing of what the pages are about."""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

Kept: TypeAlias = Callable[[str], str]
"""The last cell of a row, by the name in its first: what was written by hand into the table of before."""
Maker: TypeAlias = Callable[[Kept], str]

_ROW = re.compile(r"^\| `([^`]+)` \|.*\| ([^|]*) \|$")


def cell(text: object) -> str:
    """One line that no table takes apart. Bars within code are code()'s to write."""
    return " ".join(str(text).split()).replace("|", "\\|")


def table(headings: Sequence[str], rows: Iterable[Sequence[object]], *, ruler_of_figures: str = "---") -> str:
    """The first column is text, the others are figures: "---:" sets these to the right."""
    lines = [headings, ["---", *[ruler_of_figures] * (len(headings) - 1)], *rows]
    return "\n".join("| " + " | ".join(cell(one) for one in line) + " |" for line in lines) + "\n"


def percent(share: float) -> str:
    """A share, or a difference of shares, in points."""
    return f"{100 * share:.1f}".replace("-0.0", "0.0")


def points(value: float, low: float, high: float) -> str:
    """The same with its interval."""
    return f"{percent(value)} ({percent(low)} to {percent(high)})"


def code(text: object) -> str:
    shown = str(text)
    if "|" in shown:
        return f"<code>{shown.replace('<', '&lt;').replace('|', '&#124;')}</code>"
    return f"`{shown}`" if shown else ""


def paragraphs(text: str) -> str:
    """A docstring as running text: paragraphs stay apart, their lines do not."""
    return "\n\n".join(" ".join(part.split()) for part in text.strip().split("\n\n"))


def kept_cells(region: str) -> dict[str, str]:
    """`heading/first cell` → last cell of every row; before the first heading the first cell alone."""
    found, heading = {}, ""
    for line in region.splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ") + "/"
        elif row := _ROW.match(line):
            found[heading + row.group(1)] = row.group(2)
    return found
