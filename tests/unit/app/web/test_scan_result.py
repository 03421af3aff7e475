"""A scan's page says no more than the scan looked for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.web.jobs.scan_result import scan_result
from cleanclip.spec.scan_report import ScanReport
from cleanclip.spec.scan_statistics import ResidualFigures
from tests.fixtures.scans import scan_and_null


@pytest.fixture(scope="module")
def report() -> ScanReport:
    return scan_and_null(with_null=False)[0]


def test_with_an_anchor_semantic_triggers_are_no_longer_all_left_out(report: ScanReport) -> None:
    assert "are not among them" in scan_result(report).limits[0]
    residual = ResidualFigures(num_cells=0, edits=())
    told = replace(report, statistics=replace(report.statistics, residual=residual))
    assert "it looks for the edits of its bank" in scan_result(told).limits[0]


def test_a_base_alone_gives_no_rank_without_a_null(report: ScanReport) -> None:
    assert scan_result(report).number == "rank 1 of 6"
    [first, *_] = report.judgements
    alone = replace(first, detector="lineage", rank=1, of=1, among="models")
    assert scan_result(replace(report, judgements=(alone,))).number == "no rank"
    assert scan_result(replace(report, judgements=(alone, first))).number == "rank 1 of 6"
