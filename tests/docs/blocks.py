"""Fenced blocks of the pages: what a reader could run is run, or stands below `<!-- no-run: reason -->`."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RUN = ("bash", "python")
SHOWN = ("http", "json", "mermaid", "sql", "text", "yaml")
_BLOCK = re.compile(r"(?:^<!-- no-run: (.*?) -->\n)?^```(\w*)\n(.*?)^```$", re.M | re.S)


@dataclass(frozen=True, kw_only=True)
class Block:
    page: str
    line: int
    language: str
    code: str
    no_run: str | None
    """Why it is not run; None: it is."""

    @property
    def is_run(self) -> bool:
        return self.language in RUN and self.no_run is None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    """Everything that people read here."""
    first = [ROOT / name for name in ("README.md", "SECURITY.md", "cleanclip/README.md")]
    return [*first, *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(path: Path) -> Iterator[Block]:
    text = path.read_text(encoding="utf-8")
    for match in _BLOCK.finditer(text):
        yield Block(
            page=str(path.relative_to(ROOT)),
            line=text.count("\n", 0, match.start(2)) + 1,
            language=match.group(2),
            code=match.group(3),
            no_run=match.group(1),
        )
