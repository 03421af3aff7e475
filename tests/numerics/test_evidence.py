"""What `cleanclip verify` recomputes, written apart from the library, against the library: equal."""

from __future__ import annotations

import itertools
import random
from dataclasses import asdict
from typing import Any

import pytest

from client.evidence import report as checked
from client.evidence import shares, verdicts
from sanitizer.audits.statistics import newcombe, wilson
from sanitizer.audits.verdict import judge
from sanitizer.recipe import Policy, parse
from sanitizer.report import AuditFigures, Verdict


@pytest.mark.parametrize("n", [0, 1, 2, 7, 100, 50_000])
def test_the_interval_of_a_share_is_the_librarys(n: int) -> None:
    for successes in {0, n // 3, n // 2, max(0, n - 1), n}:
        ours, theirs = shares.wilson(successes, n), wilson(successes, n)
        assert ours == pytest.approx((theirs.value, theirs.low, theirs.high), abs=1e-12)


def test_the_interval_of_a_paired_difference_is_the_librarys() -> None:
    for both, lost, gained, neither in itertools.product((0, 1, 7, 400), repeat=4):
        if both + lost + gained + neither:
            theirs = newcombe(both=both, lost=lost, gained=gained, neither=neither)
            ours = shares.newcombe(both=both, lost=lost, gained=gained, neither=neither)
            assert ours == pytest.approx((theirs.value, theirs.low, theirs.high), abs=1e-12)


def figures(asr: int) -> dict[str, Any]:
    names = ("badnet", "badnet-2")
    return {
        "weights_sha256": "0" * 64,
        "seed": 0,
        "ca": asdict(wilson(250, 300)),
        "ca_top5": asdict(wilson(290, 300)),
        "untriggered_target_rate": asdict(wilson(asr // 2, 200)),
        "attacks": [
            {
                "name": name,
                "options": {},
                "trigger_sha256": "0" * 64,
                "asr": asdict(wilson(asr, 200)),
                "asr_including_target": asdict(wilson(asr + 90, 300)),
                "pa": asdict(wilson(290 - asr, 300)),
            }
            for name in names
        ],
    }


def document(before: int, after: int | None, lost: int, gate: float, policy: Policy) -> dict[str, Any]:
    told, then = figures(before), None if after is None else figures(after)
    difference = (
        None if after is None else newcombe(both=250 - lost, lost=lost, gained=lost, neither=50 - lost)
    )
    verdict = judge(
        before=parse(AuditFigures, told),
        after=None if then is None else parse(AuditFigures, then),
        ca_lost=difference,
        gate=gate,
        policy=policy,
    )
    return {
        "kind": "audit" if after is None else "sanitize",
        "schema_version": 1,
        "seed": 0,
        "checkpoint": {"upload_sha256": None, "weights_sha256": "0" * 64},
        "data": [],
        "audit": {"gate": gate, "attacks": []},
        "recipe": None,
        "policy": asdict(policy),
        "before": told,
        "after": then,
        "ca_lost": None if difference is None else asdict(difference),
        "verdict": _lists(verdict),
        "training": None,
        "warnings": [],
    }


def _lists(verdict: Verdict) -> dict[str, Any]:
    return {**asdict(verdict), "attacks": [asdict(one) for one in verdict.attacks]}


def test_the_verdict_that_the_library_gives_is_the_one_that_follows() -> None:
    random_ = random.Random(4)
    outcomes = set()
    for _ in range(300):
        policy = Policy(
            asr_at_most=random_.choice([0.0, 0.05, 0.3, 1.0]),
            ca_lost_at_most=random_.choice([0.0, 0.03, 1.0]),
        )
        after = random_.choice([None, random_.randrange(201)])
        told = document(
            random_.randrange(201), after, random_.randrange(40), random_.choice([0.1, 0.5]), policy
        )
        outcomes.add(told["verdict"]["outcome"])
        assert [str(one) for one in verdicts.check(checked.parse(told))] == []
        others = {"pass", "fail", "undecided", "not_implanted"} - {told["verdict"]["outcome"]}
        told["verdict"]["outcome"] = random_.choice(sorted(others))
        assert [one.where for one in verdicts.check(checked.parse(told))] == ["verdict.outcome"]
    assert outcomes == {"pass", "fail", "undecided", "not_implanted"}
