"""The sentences that propose a method have the figures of the page that they name."""

from __future__ import annotations

import re
from pathlib import Path

from cleanclip.spec.proposed import BESIDE, FIGURES

PAGE = (Path(__file__).resolve().parents[3] / "docs/uar.md").read_text(encoding="utf-8")


def test_the_figures_that_propose_uar_stand_in_its_page() -> None:
    for figure in ("At most 0.7 % ASR stays", "On the same families CleanCLIP leaves 0.4 to 97.8 %"):
        assert figure in PAGE
    assert "(94.1 % stay; CleanCLIP leaves 4.1 %" in PAGE
    assert "Nobody has cleaned a full-size model with it" in PAGE
    assert re.findall(r"[\d.]+ (?:to [\d.]+ )?%", FIGURES) == ["0.7 %", "0.4 to 97.8 %"]
    assert re.findall(r"[\d.]+ %", BESIDE) == ["94.1 %", "4.1 %"]
