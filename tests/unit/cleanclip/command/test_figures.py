"""The table of figures that `cleanclip report` prints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cleanclip.command import views
from cleanclip.models import Job
from cleanclip.spec.recipe import to_json
from cleanclip.spec.report import load_json
from worker.publishing.publish import shown_ladder

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


def test_a_job_by_auto_shows_its_ladder_as_its_report_does() -> None:
    report = kept("auto")
    from_report = ladder_of(views.figures(report))
    shown = {name: report[name] for name in ("verdict", "before", "after", "warnings")}
    shown["auto"] = to_json(shown_ladder(load_json(json.dumps(report)).auto))
    row = {"id": "job_1", "kind": "sanitize", "state": "succeeded", "result": shown}
    row |= {name: report[name] for name in ("audit", "policy")}
    from_job = ladder_of(views.job(Job.model_validate(row)))
    assert from_job == from_report
    assert sum("worst ASR" in line and "CA lost" in line for line in from_job) == 3
    assert from_job[-1] == f"Choice: {report['auto']['choice']['reason']}"
    assert "Choice:" not in views.figures(kept("par"))


def test_of_a_ladder_of_another_release_the_choice_is_shown() -> None:
    report = kept("auto")
    report["auto"]["rungs"][0]["end"] = "another"
    assert f"\n\nChoice: {report['auto']['choice']['reason']}\n" in views.figures(report)


def ladder_of(text: str) -> list[str]:
    lines = text.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("Recipes tried"))
    return lines[first : first + 7]
