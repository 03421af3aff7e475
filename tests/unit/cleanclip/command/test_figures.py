"""The table of figures that `cleanclip report` prints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cleanclip.command import views

KEPT = Path(__file__).resolve().parents[3] / "fixtures" / "reports"


def kept(name: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((KEPT / f"{name}.json").read_bytes())
    return read


def test_retrieval_stands_below_the_attacks_before_and_after() -> None:
    lines = views.figures(kept("retrieval")).splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("Image to caption, R@1 "))
    assert lines[first - 1].startswith("Still right, sig")
    told = [line.split("  ")[0] for line in lines[first:]]
    assert told == [
        *(f"{way}, R@{k}" for way in ("Image to caption", "Caption to image") for k in (1, 5, 10)),
        "Target caption, no trigger",
        *(f"Target caption, {attack}" for attack in ("badnet", "blended", "sig")),
    ]
    assert "99.6 % [99.3, 99.8] n=2969" in lines[first + 7]
    assert "1.0 % [0.7, 1.5] n=2969" in lines[first + 7]


def test_without_it_nothing_is_said_of_it() -> None:
    assert "R@" not in views.figures(kept("audit"))
    assert "R@" not in views.figures(kept("cleaned"))
