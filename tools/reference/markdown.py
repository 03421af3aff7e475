"""Small pieces of Markdown. Knows nothing of what the pages are about."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

MADE_BY = "<!-- Written by `python -m tools.reference` (`make format`); do not edit{but}. -->"
_ROW = re.compile(r"^\| `([^`]+)` \|.*\| ([^|]*) \|$")


def cell(text: object) -> str:
    """One line that no table takes apart."""
    return " ".join(str(text).split()).replace("|", "\\|")


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(cell(one) for one in line) + " |" for line in lines) + "\n"


def code(text: object) -> str:
    return f"`{text}`" if str(text) else ""


def paragraphs(text: str) -> str:
    """A docstring as running text: paragraphs stay apart, their lines do not."""
    return "\n\n".join(" ".join(part.split()) for part in text.strip().split("\n\n"))


def kept_cells(page: str) -> dict[tuple[str, str], str]:
    """(heading, first cell) → last cell of every table row: what was written by hand and is to stay."""
    found, heading = {}, ""
    for line in page.splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        elif row := _ROW.match(line):
            found[heading, row.group(1)] = row.group(2)
    return found
