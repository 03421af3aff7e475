"""A child whose report is not of its order fails the job, whatever its kind, and nothing of it is published.

Each lie by itself, without a child: tests/unit/worker/test_checking.py, test_scanning.py, test_vetting.py.
"""

from collections.abc import Callable

import pytest

from app.domain.states import JobState
from tests.integration.worker.test_first_scan import cleaning
from tests.integration.worker.test_scans import scan_job
from tests.integration.worker.test_vettings import full_job
from tests.integration.worker.world import World

ORDERED: dict[str, Callable[[World], str]] = {
    "audit": lambda world: world.audit_job().id,
    "sanitize": lambda world: world.sanitize_job().id,
    "sanitize, the scan before it": lambda world: cleaning(world).id,
    "scan": lambda world: scan_job(world, with_anchor=True),
    "vet": full_job,
}


@pytest.mark.parametrize("kind", ORDERED)
def test_a_report_that_lies_fails_the_job_and_nothing_is_published(world: World, kind: str) -> None:
    job_id = ORDERED[kind](world)
    assert world.runner("lie").run(job_id) is JobState.FAILED
    row = world.job(job_id)
    assert row.error is not None
    assert (row.error["code"], row.result) == ("outputs_rejected", None)
    assert world.artifacts(job_id) == {}
