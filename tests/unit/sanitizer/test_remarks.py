"""Remarks are made by the bounds of intervals, and where a verdict says more there is none."""

import json
from dataclasses import replace
from typing import Any

import pytest

from cleanclip.vocabulary.audit_figures import AuditFigures
from cleanclip.vocabulary.measures import Estimate
from cleanclip.vocabulary.remarks import FAR_UNDER_CA, remarks
from cleanclip.vocabulary.report import Report, load_json
from sanitizer.audits.statistics import wilson
from tests.fixtures.kept_reports import document


def cleaned() -> Report:
    return load_json(json.dumps(document("cleaned")))


def with_first(audit: AuditFigures, *, floor: Estimate | None = None, **figures: Any) -> AuditFigures:
    """Only its first attack, badnet, with other figures."""
    attack = replace(audit.attacks[0], **figures)
    rate = floor or audit.untriggered_target_rate
    return replace(audit, attacks=(attack,), untriggered_target_rate=rate)


def reported(after: AuditFigures, outcome: str = "pass") -> list[str]:
    report = cleaned()
    parts = tuple(replace(one, outcome=outcome) for one in report.verdict.attacks[:1])
    return remarks(with_first(report.before), after, replace(report.verdict, attacks=parts))


@pytest.mark.parametrize(
    ("called", "floor", "is_remarked"),
    [(30, 5, True), (12, 5, False), (5, 5, False), (0, 30, False)],
)
def test_a_higher_rate_is_remarked_on_where_the_intervals_lie_apart(
    called: int, floor: int, is_remarked: bool
) -> None:
    asr, rate = wilson(called, 1000), wilson(floor, 1000)
    assert is_remarked == (asr.low > rate.high)
    found = reported(
        with_first(cleaned().after or cleaned().before, asr=asr, floor=rate, pa=wilson(950, 1000))
    )
    figures = f": badnet {called / 10:.2f} % against {floor / 10:.2f} %."
    assert [one.endswith(figures) for one in found] == [True] * is_remarked


@pytest.mark.parametrize("right", [700, 800, 820, 860, 900])
def test_pa_is_far_under_ca_by_its_upper_and_by_cas_lower_bound(right: int) -> None:
    after, pa = cleaned().after, wilson(right, 1000)
    assert after is not None
    found = reported(with_first(after, pa=pa, asr=wilson(0, 1000)))
    is_far = pa.high < after.ca.low - FAR_UNDER_CA
    assert [one.startswith("PA is far under CA (91.33 %)") for one in found] == [True] * is_far
    assert is_far == (right <= 820)


def test_an_attack_that_fails_is_not_remarked_on_too() -> None:
    after = cleaned().after
    assert after is not None
    bad = with_first(after, asr=wilson(500, 1000), pa=wilson(100, 1000))
    assert reported(bad, "fail") == []
    assert len(reported(bad, "undecided")) == 2


def test_an_audit_alone_does_not_say_still_and_names_are_shown_by_their_characters() -> None:
    report = cleaned()
    before = replace(with_first(report.before, asr=wilson(30, 1000), pa=report.before.ca))
    before = replace(before, attacks=(replace(before.attacks[0], name="bad\u202enet"),))
    found = remarks(before, None, report.verdict)
    assert found[0].startswith("Images with the trigger are classified as the target more often")
    assert "bad[U+202E]net" in found[0]
