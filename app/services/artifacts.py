"""Artifacts: when a job has its files, and which of them is its report. The object store serves the files."""

from app.db.models.job import Artifact, Job
from app.db.unit_of_work import UnitOfWork
from app.domain.errors import Conflict, NotFound
from app.domain.states import TERMINAL, JobState

REPORT_NAME = "report.json"


def check_finished(
    job: Job, why: str, *, remedy: str = "Wait for the job.", retry_after_s: int | None = 5
) -> None:
    """Raises Conflict (`job_not_finished`) while the job is not finished; `why` it has to be."""
    if job.state not in TERMINAL:
        message = f"The job is {job.state}; {why}."
        raise Conflict("job_not_finished", message, remedy, retry_after_s=retry_after_s)


def report_of(unit: UnitOfWork, job: Job) -> Artifact:
    """The report of a succeeded job. Raises NotFound; Conflict while the job is not finished."""
    check_finished(job, "its report is written when it succeeds")
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
