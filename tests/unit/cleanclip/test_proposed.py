"""The sentences that propose a method have the figures of the page that they name."""

import re
from pathlib import Path

from cleanclip.vocabulary.proposed import BESIDE, FIGURES

PAGE = (Path(__file__).resolve().parents[3] / "docs/uar.md").read_text(encoding="utf-8")


def test_the_figures_that_propose_uar_stand_in_its_page() -> None:
    page = " ".join(PAGE.split())
    assert "At most 0.7 % ASR stays" in page
    assert "**CleanCLIP leaves** 0.4 to 97.8 % of the same families" in page
    assert "94.1 % of a colour of paper (CleanCLIP 4.1 %" in page
    assert "Nobody has cleaned a full-size model with it" in page
    assert re.findall(r"[\d.]+ (?:to [\d.]+ )?%", FIGURES) == ["0.7 %", "0.4 to 97.8 %"]
    assert re.findall(r"[\d.]+ %", BESIDE) == ["94.1 %", "4.1 %"]
