"""Jobs side by side: a scan before, a cleaning, and a scan after it."""

from dataclasses import replace
from typing import Any

from app.db.models.job import Job
from app.domain.states import JobKind, JobState
from app.schemas.jobs import ResultOut
from app.web.jobs.comparison import Column, Inputs, compare
from sanitizer.audits.statistics import wilson
from tests.fixtures.scans import scan_and_null
from worker.publishing.scanning import shown_scan
from worker.publishing.shown import shown_control


def column(kind: JobKind, result: dict[str, Any]) -> Column:
    return Column(
        job=Job(kind=kind, state=JobState.SUCCEEDED, seed=1, spec={"kind": str(kind)}),
        filename="clip.pt",
        result=ResultOut.of(result),
        inputs=Inputs(data={"labelled": "0" * 64}, weights_sha256="1" * 64, code_version="0"),
    )


def test_what_one_pattern_does_stands_side_by_side_before_and_after_a_cleaning() -> None:
    scan, _ = scan_and_null(with_null=False)
    cleaned = [replace(one, led=wilson(20, 200)) for one in scan.control]
    found = compare(
        [
            column(JobKind.SCAN, {"scan": shown_scan(scan)}),
            column(JobKind.SANITIZE, {"control": [shown_control(one) for one in cleaned]}),
            column(JobKind.AUDIT, {}),
        ]
    )
    assert [row.family for row in found.control] == [one.family.name for one in scan.control]
    first = found.control[0]
    assert [None if one is None else one.led.value for one in first.found] == [0.95, 0.1, None]
    assert not found.is_of_other_data
