"""A job's rebound: what its row shows, and what of a child's word is not believed."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from app.schemas.jobs import ResultOut
from cleanclip.vocabulary.judging import judge
from cleanclip.vocabulary.policy import Policy
from cleanclip.vocabulary.report import Report, dump_json, load_json
from cleanclip.vocabulary.verdicts import Verdict
from sanitizer.audits.statistics import wilson
from tests.fixtures.derived import saying
from worker.publishing.shown import shown_rebound

KEPT = Path(__file__).parents[2] / "fixtures" / "reports" / "rebound.json"
"""Read here: the worker's tests pass where nothing that draws a report is installed."""


@pytest.fixture(scope="module")
def report() -> Report:
    return load_json(KEPT.read_bytes())


def judged(report: Report, policy: Policy, **changes: Any) -> Verdict:
    return judge(
        before=report.before,
        after=report.after,
        ca_lost=report.ca_lost,
        gate=report.audit.gate,
        policy=policy,
        rebound=saying(report.rebound, **changes) if report.rebound else None,
    )


def test_a_row_has_the_highest_shares_and_no_points(report: Report) -> None:
    assert report.rebound is not None
    shown = shown_rebound(report.rebound)
    assert not any("points" in one for one in shown["curves"])
    out = ResultOut.of({"verdict": asdict(report.verdict), "rebound": shown})
    assert out is not None
    assert out.rebound is not None
    assert tuple(out.rebound.highest) == report.rebound.highest
    assert out.verdict is not None
    assert out.verdict.rebound == report.verdict.rebound


def test_the_limit_of_the_rebound_is_its_own_or_that_of_the_attack(report: Report) -> None:
    assert judged(report, Policy()).outcome == "pass"
    assert judged(report, Policy(rebound_asr_at_most=0.005)).rebound[0].outcome == "undecided"
    strict = judged(report, Policy(asr_at_most=0.005, rebound_asr_at_most=0.1))
    assert strict.rebound[0].outcome == "pass"


def test_a_highest_share_fails_only_where_the_bound_that_pays_for_the_choice_is_over_the_limit(
    report: Report,
) -> None:
    assert report.rebound is not None
    (highest,) = report.rebound.highest
    over = replace(highest, low=0.06, asr=replace(highest.asr, successes=round(0.08 * highest.asr.n)))
    reported = judged(report, Policy(), highest=(over,))
    assert reported.rebound[0].outcome == "fail"
    assert reported.outcome == "fail"
    assert "badnet after benign fine-tuning" in reported.reason
    between = replace(over, low=0.04)
    assert judged(report, Policy(), highest=(between,)).rebound[0].outcome == "undecided"


def test_an_attack_that_did_not_work_fails_only_where_it_is_over_its_floor_too(report: Report) -> None:
    assert report.rebound is not None
    weak = replace(report.before.attacks[0], asr=wilson(200, 1000))
    before = replace(report, before=replace(report.before, attacks=(weak,)))
    assert judged(before, Policy()).rebound[0].outcome == "inconclusive"
    (highest,) = report.rebound.highest
    over = replace(highest, low=0.3)
    assert judged(before, Policy(), highest=(over,)).rebound[0].outcome == "fail"


def test_a_sentence_with_another_number_is_found(report: Report) -> None:
    document = json.loads(dump_json(report))
    part = document["verdict"]["rebound"][0]
    part["reason"] = part["reason"].replace("0.20 %", "0.10 %")
    with pytest.raises(ValidationError, match=r"verdict\.rebound\.0\.reason"):
        load_json(json.dumps(document))
