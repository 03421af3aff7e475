"""SECURITY.md points at code, tests and pages: every one of them is there."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_ROOMS = "app|client|docs|fuzz|sanitizer|tests|worker"


def test_every_place_that_the_security_page_names_exists() -> None:
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    places = re.findall(rf"`((?:{_ROOMS})/[\w./-]+)`", text) + re.findall(r"\]\((docs/[\w./-]+)", text)
    assert len(places) > 30
    assert [place for place in places if not (ROOT / place).exists()] == []
    tests = {path.name for path in (ROOT / "tests").rglob("test_*.py")}
    assert [name for name in re.findall(r"`(test_\w+\.py)`", text) if name not in tests] == []
