"""The words that pages and what the code says use for one thing each: CONTRIBUTING names this list."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SAY_INSTEAD = {
    r"\b[Dd]ata sets?\b": "dataset",
    r"\banew\b": "again",
    r"\b(?:is|are) answered with \d{3}\b": "fails with …, returns …",
    r"\bnot_implanted\b": "inconclusive",
    r"\baudit (?:log|trail)\b": "trail",
}
CODE = re.compile(r"```.*?```|`[^`\n]*`|\]\([^)]*\)", re.S)
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted(
        path
        for part in ("start", "how-to", "reference", "explanation")
        for path in (ROOT / "docs" / part).rglob("*.md")
    ),
    *sorted((ROOT / "app" / "web" / "kit" / "templates").glob("*.html")),
    *sorted((ROOT / "sanitizer" / "rendering" / "templates").glob("*.j2")),
]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_page_says_one_thing_by_one_word(path: Path) -> None:
    text = CODE.sub("", path.read_text(encoding="utf-8"))
    found = {match[0]: word for pattern, word in SAY_INSTEAD.items() for match in re.finditer(pattern, text)}
    assert not found, f"say instead: {found}"


def test_the_list_finds_what_it_is_for() -> None:
    assert re.search(next(iter(SAY_INSTEAD)), "two data sets")
    assert not re.search(next(iter(SAY_INSTEAD)), "two datasets")
