"""A scan's page says no more than the scan looked for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.web.jobs.scan_result import scan_result
from cleanclip.spec.scan_options import Detector
from cleanclip.spec.scan_report import ScanReport
from tests.fixtures.scans import scan_and_null
from tests.integration.worker.stand_in_child import WAVE


@pytest.fixture(scope="module")
def report() -> ScanReport:
    return scan_and_null(with_null=False)[0]


@pytest.mark.parametrize("detector", ["edits", "residual"])
def test_with_a_bank_of_edits_semantic_triggers_are_no_longer_all_left_out(
    report: ScanReport, detector: Detector
) -> None:
    def limits(*detectors: Detector) -> str:
        return scan_result(replace(report, options=replace(report.options, detectors=detectors))).limits[0]

    assert "are not among them" in limits("collapse")
    assert "like an edit of its bank" in limits("collapse", detector)


def test_an_edit_that_leads_images_to_one_class_is_shown_by_its_name(report: ScanReport) -> None:
    [first] = report.hypotheses
    found = replace(first, detector="edits", trigger=replace(first.trigger, family=WAVE, attack=None))
    [shown] = scan_result(replace(report, hypotheses=(found,))).found
    assert shown.family == "wave:x:6:0.196"


def test_a_base_alone_gives_no_rank_without_a_null(report: ScanReport) -> None:
    assert scan_result(report).number == "rank 1 of 6"
    [first, *_] = report.judgements
    alone = replace(first, detector="lineage", rank=1, of=1, among="models")
    assert scan_result(replace(report, judgements=(alone,))).number == "no rank"
    assert scan_result(replace(report, judgements=(alone, first))).number == "rank 1 of 6"
