"""The table of figures that `cleanclip report` prints."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cleanclip.command import views
from cleanclip.command.output import Output
from cleanclip.models import Job
from cleanclip.spec.ladder_lines import NOT_SHOWN, Ladder, LadderUnreadable
from cleanclip.spec.recipe import to_json
from cleanclip.spec.report import load_json
from worker.publishing.publish import shown_ladder

KEPT = Path(__file__).resolve().parents[3] / "fixtures" / "reports"


def kept(name: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((KEPT / f"{name}.json").read_bytes())
    return read


def test_retrieval_stands_below_the_attacks_before_and_after() -> None:
    lines = views.figures(kept("retrieval") | {"warnings": []}).splitlines()
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
    assert f"\n\nChoice: {report['auto']['choice']['reason']}" in views.figures(report)


LIES: dict[str, Callable[[dict[str, Any]], object]] = {
    "no_audit": lambda told: told.update(audit=None),
    "no_gate": lambda told: told["audit"].pop("gate"),
    "no_policy": lambda told: told.update(policy=None),
    "an_attack_without_options": lambda told: told["before"]["attacks"][0].pop("options"),
    "an_attack_without_a_name": lambda told: told["before"]["attacks"][0].pop("name"),
    "no_attacks_before": lambda told: told["before"].pop("attacks"),
    "one_attack_fewer_before": lambda told: told["auto"]["before"]["attacks"].pop(),
    "one_attack_fewer_in_a_look": lambda told: told["auto"]["rungs"][0]["looks"][0]["figures"][
        "attacks"
    ].pop(),
    "one_verdict_more": lambda told: told["verdict"]["attacks"].append(told["verdict"]["attacks"][0]),
    "verdicts_that_are_none": lambda told: told["verdict"].update(attacks=5),
    "a_ladder_that_is_a_word": lambda told: told.update(auto="steep"),
    "a_choice_of_nothing": lambda told: told["auto"]["choice"].update(rung=7),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_ladder_that_cannot_be_read_costs_its_lines_alone(lie: str) -> None:
    report = kept("auto")
    LIES[lie](report)
    with pytest.raises(LadderUnreadable):
        Ladder.of(report)
    text = views.figures(report)
    choice = f"Choice: {kept('auto')['auto']['choice']['reason']}"
    assert f"\n\n{NOT_SHOWN if lie == 'a_ladder_that_is_a_word' else choice}" in text
    assert text.startswith(f"{report['verdict']['reason']}\n")
    assert "FIGURE" in text


@pytest.mark.parametrize("reason", [None, "", 5])
def test_a_ladder_without_a_reason_is_not_shown_to_choose_none(reason: object) -> None:
    report = kept("auto")
    report["auto"]["rungs"][0]["end"] = "another"
    report["auto"]["choice"]["reason"] = reason
    assert f"\n\n{NOT_SHOWN}" in views.figures(report)
    del report["auto"]["choice"]
    assert f"\n\n{NOT_SHOWN}" in views.figures(report)


def test_of_an_audit_without_attacks_it_is_not_said_that_none_is_judged() -> None:
    report = kept("auto")
    looks = [look["figures"] for rung in report["auto"]["rungs"] for look in rung["looks"]]
    for one in (report["before"], report["after"], report["verdict"], report["auto"]["before"], *looks):
        one["attacks"] = []
    text = views.figures(report)
    assert "the audit has no attack" in text
    assert "no attack is judged" not in text


@pytest.mark.parametrize("is_of_this_release", [True, False])
def test_a_reason_cannot_steer_the_terminal(is_of_this_release: bool) -> None:
    report = kept("auto")
    if not is_of_this_release:
        report["audit"] = None
    report["auto"]["choice"]["reason"] = report["verdict"]["reason"] = "so\x1b[2J\x9b1mit is"
    report["warnings"] = ["so\x1b[2J\x9b1mit is"]
    text = views.figures(report)
    assert not set(text) & {"\x1b", "\x9b"}
    assert text.count("so[U+001B][2J[U+009B]1mit is") == 3
    first = views.first_verdict({"before_verdict": {"reason": "so\x1b[2J"}})
    assert first.startswith("Before cleaning: so[U+001B][2J\n")


def test_what_a_command_prints_has_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    Output(is_json=False).result({}, "a\x1b[2J\tb\nc")
    assert capsys.readouterr().out == "a�[2J\tb\nc\n"


def ladder_of(text: str) -> list[str]:
    lines = text.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("Recipes tried"))
    return lines[first : first + 7]
