"""Artifacts: which file of a job is its report. The files themselves are served by the object store."""

from __future__ import annotations

from app.db.models.job import Artifact, Job
from app.db.unit_of_work import UnitOfWork
from app.domain.errors import Conflict, NotFound
from app.domain.states import TERMINAL, JobState

REPORT_NAME = "report.json"


def report_of(unit: UnitOfWork, job: Job) -> Artifact:
    """The report of a succeeded job. Raises NotFound; Conflict while the job is not finished."""
    if job.state not in TERMINAL:
        raise Conflict(
            "job_not_finished",
            f"The job is {job.state}; its report is written when it succeeds.",
            "Wait for the job.",
            retry_after_s=5,
        )
    report = (
        unit.artifacts.named(job.project_id, job.id, REPORT_NAME) if job.state is JobState.SUCCEEDED else None
    )
    if report is None:
        raise NotFound(
            "report_not_found",
            f"The job is {job.state} and left no report.",
            "Read the job's error; retry the job or create a new one.",
        )
    return report
