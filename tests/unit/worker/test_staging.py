"""What a child is told to do, of the job's row."""

from dataclasses import replace
from typing import Any

import pytest

from app.db.repositories.attempt_values import ClaimedJob
from app.domain.states import JobKind
from cleanclip.vocabulary.jobspec import AuditSpec
from cleanclip.vocabulary.report_inputs import Origin
from worker.staging.stage import origin_of, spec_of


def job(audit: dict[str, Any]) -> ClaimedJob:
    return ClaimedJob(
        id="job_1",
        project_id="proj_1",
        kind=JobKind.AUDIT,
        attempt=1,
        attempts_used=0,
        max_attempts=3,
        inputs={"checkpoint_id": "ckpt_1", "labelled_dataset_id": "ds_1"},
        spec={"audit": audit},
        seed=7,
        resume_state=None,
    )


@pytest.mark.parametrize(("ordered", "expected"), [({"examples": 3}, 3), ({"examples": 0}, 0)])
def test_as_many_examples_are_shown_as_were_ordered(ordered: dict[str, int], expected: int) -> None:
    spec = spec_of(job({"target": "dog", **ordered}), {"upload_sha256": "1" * 64}, 60.0, 1)
    assert isinstance(spec, AuditSpec)
    assert spec.audit.examples == expected


def test_a_report_is_of_the_job_the_file_and_whoever_asked_in_the_names_that_the_row_has() -> None:
    ordered = replace(job({"target": "dog"}), name="Release 7")
    by = {"project": "research", "key_id": "key_1", "key_name": "Ada's laptop"}
    came_in = {"filename": "clip.pt", "source": None}
    reported = origin_of(replace(ordered, spec=dict(ordered.spec) | {"requested_by": by}), came_in)
    assert reported == Origin(
        filename="clip.pt",
        source=None,
        job_id="job_1",
        job_name="Release 7",
        project="research",
        requested_by="Ada's laptop key_1",
    )
    assert origin_of(ordered, came_in).requested_by == "not known"
