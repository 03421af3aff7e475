"""What is not drawn: reports that cannot be read, and reports that contradict themselves.

Each lie by itself: tests/unit/cleanclip/test_each_lie.py; of several places at once:
tests/integration/evidence.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cleanclip.vocabulary.progress import Announced, ProgressEvent
from cleanclip.vocabulary.report import load_json
from sanitizer.__main__ import main
from sanitizer.cli import pages
from tests.fixtures.kept_reports import FOLDER, document, drawn

KEPT = str(FOLDER / "audit.json")


def put(*path: str | int, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(written: Any) -> None:
        for key in path[:-1]:
            written = written[key]
        written[path[-1]] = to

    return change


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("cleaned", put("after", to=None), "a cleaning needs both the audit after it and the paired loss"),
        ("not_cleaned", put("verdict", "outcome", to="pass"), "verdict.outcome"),
        ("cleaned", put("training", "curve", 3, "loss", to=float("nan")), "training.curve.3.loss is"),
        (
            "cleaned",
            put("training", "curve", 3, "step", to=10**400),
            "training.curve.3.step is a whole",
        ),
        ("cleaned", put("schema_version", to=2), "Its schema is newer than this program"),
        ("cleaned", put("seed", to="many"), "seed: Input should be a valid integer"),
        ("cleaned", put("before", "attacks", 0, "target", to="fig"), "before.attacks[0].target is not"),
        (
            "cleaned",
            put("after", "further_targets", to=[document("several_targets")["after"]["further_targets"][0]]),
            "after.further_targets are not those of its attacks",
        ),
    ],
)
def test_a_report_that_contradicts_itself_is_refused_with_the_place(
    name: str, change: Callable[[Any], None], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = document(name)
    change(written)
    (tmp_path / "report.json").write_text(json.dumps(written))
    assert main(["report", str(tmp_path / "report.json")]) == 3
    assert words in " ".join(capsys.readouterr().err.split())
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b"null", b"{}" * (5 * 2**20)]
)
def test_what_is_no_report_is_refused(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.json").write_bytes(content)
    assert main(["report", str(tmp_path / "x.json"), "--html", str(tmp_path / "x.html")]) == 3
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "report_" in captured.err
    assert "Traceback" not in captured.err


def test_a_place_without_a_report_is_refused(tmp_path: Path) -> None:
    assert main(["report", str(tmp_path / "nowhere.json")]) == 3
    assert main(["report", str(tmp_path)]) == 3
    assert main(["report", "/dev/zero"]) == 3


def test_without_options_both_pages_lie_beside_the_report(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_bytes((FOLDER / "audit.json").read_bytes())
    assert main(["report", str(tmp_path / "report.json")]) == 0
    assert main(["report", str(tmp_path / "report.json")]) == 0, "the same bytes again are no conflict"
    assert ((tmp_path / "report.html").read_text(), (tmp_path / "report.md").read_text()) == drawn("audit")
    (tmp_path / "report.md").write_text("signed by somebody")
    assert main(["report", str(tmp_path / "report.json")]) == 2
    assert (tmp_path / "report.md").read_text() == "signed by somebody"


def test_one_page_goes_to_stdout_and_two_do_not_fit(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["report", KEPT, "--markdown", "-"]) == 0
    assert capsys.readouterr().out == drawn("audit")[1]
    assert main(["report", KEPT, "--markdown", "-", "--html", "-"]) == 2
    assert main(["report", KEPT, "--html", str(tmp_path / "no" / "folder")]) == 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("reason", ["the drawing libraries are missing", "the report contradicts itself"])
def test_a_page_that_cannot_be_drawn_costs_a_warning_and_no_job(
    reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = document("audit")
    if reason == "the drawing libraries are missing":
        monkeypatch.setattr(pages, "DRAWS", "sanitizer.rendering.not_installed")
    else:
        written["before"]["attacks"][0]["target"] = "fig"
    events: list[ProgressEvent] = []
    pages.write_pages(load_json(json.dumps(written)), tmp_path, events.append)
    (event,) = events
    assert isinstance(event, Announced)
    assert event.level == "warning"
    assert "report.json is complete" in event.message
    assert list(tmp_path.iterdir()) == []
