"""The table of figures that `cleanclip report` prints."""

import json
from pathlib import Path
from typing import Any

import pytest

from cleanclip.command import views
from cleanclip.command.output import Output
from cleanclip.vocabulary.recipe import to_json
from tests.fixtures.made_reports import searched
from worker.publishing.shown import shown_control

KEPT = Path(__file__).resolve().parents[3] / "fixtures" / "reports"


def kept(name: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((KEPT / f"{name}.json").read_bytes())
    return read


def test_retrieval_stands_below_the_attacks_before_and_after() -> None:
    lines = views.figures(kept("retrieval") | {"warnings": []}).splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("Image to caption, R@1 "))
    assert lines[first - 1].startswith("Still right, sig")
    reported = [line.split("  ")[0] for line in lines[first : lines.index("", first)]]
    assert reported == [
        *(f"{way}, R@{k}" for way in ("Image to caption", "Caption to image") for k in (1, 5, 10)),
        "Target caption, no trigger",
        *(f"Target caption, {attack}" for attack in ("badnet", "blended", "sig")),
    ]
    assert "99.6 % [99.3, 99.8] n=2969" in lines[first + 7]
    assert "1.0 % [0.7, 1.5] n=2969" in lines[first + 7]


def test_without_it_nothing_is_said_of_it() -> None:
    assert "R@" not in views.figures(kept("audit"))
    assert "R@" not in views.figures(kept("cleaned"))


def test_a_reason_cannot_steer_the_terminal() -> None:
    report = kept("par")
    report["verdict"]["reason"] = "so\x1b[2J\x9b1mit is"
    report["warnings"] = ["so\x1b[2J\x9b1mit is"]
    text = views.figures(report)
    assert not set(text) & {"\x1b", "\x9b"}
    assert text.count("so[U+001B][2J[U+009B]1mit is") == 2
    first = views.first_verdict({"before_verdict": {"reason": "so\x1b[2J"}})
    assert first.startswith("Before cleaning: so[U+001B][2J\n")


def test_what_a_command_prints_has_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    Output(is_json=False).result({}, "a\x1b[2J\tb\nc")
    assert capsys.readouterr().out == "a�[2J\tb\nc\n"


def test_a_cleaning_says_what_one_pattern_does_of_its_report_and_of_its_jobs_result() -> None:
    control = searched(210)
    of_report = views.figures(kept("cleaned") | {"control": to_json(control)})
    of_result = views.figures(kept("cleaned") | {"control": [shown_control(one) for one in control.families]})
    assert of_report.replace(f"\n{control.sentence}\n", "") == of_result
    (row,) = [line for line in of_report.splitlines() if line.startswith("blend")]
    assert row.split()[1:4] == ["21.0", "%", "(n"]
    assert "colour:0.3 (not judged)" in of_report
    assert "STRONGEST PATTERN" not in views.figures(kept("audit"))
