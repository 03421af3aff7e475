"""Two to six jobs side by side."""

from collections.abc import Mapping, Sequence
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from app.db.models.job import Artifact, Job
from app.db.unit_of_work import UnitOfWork
from app.domain.ids import is_id
from app.domain.states import JobKind, JobState
from app.live.ports import Ports, PortsDep
from app.logs import get_logger
from app.services.artifacts import REPORT_NAME
from app.web.jobs import figures
from app.web.jobs.comparison import LEAST_COMPARED, MOST_COMPARED, Column, Inputs, compare, interval_text
from app.web.jobs.job_result import ReportUnreadable, fetch
from app.web.kit.rendering import page
from app.web.kit.visitor import Reader
from cleanclip.kinds.catalogue import KINDS
from cleanclip.kinds.kind import Kind
from cleanclip.vocabulary.report_kinds import AnyReport, loader

log = get_logger(__name__)
router = APIRouter()


@router.get("/compare")
def show_comparison(
    request: Request,
    visitor: Reader,
    ports: PortsDep,
    job: Annotated[list[str] | None, Query(max_length=50)] = None,
) -> Response:
    """In the order of the address. What cannot be compared is said; figures of other test data are marked."""
    ids = list(dict.fromkeys(job or ()))
    wrong = _wrong(ids)
    if wrong is None:
        with ports.database.unit_of_work(visitor.caller.project_id) as unit:
            jobs = unit.jobs.several(visitor.caller.project_id, ids)
            wrong = _missing(ids, jobs)
            rows = [jobs[one] for one in ids if one in jobs]
            wrong = wrong or _others(rows)
            filenames = unit.job_search.filenames(visitor.caller.project_id, rows)
            weights = unit.job_search.weights(visitor.caller.project_id, rows)
            digests = [_digests(unit, row) for row in rows]
            reports = [_report_file(unit, row) for row in rows]
    if wrong is not None:
        return page(request, "compare_refused.html", 422, message=wrong[0], remedy=wrong[1])
    columns = [
        Column(
            job=row,
            filename=filenames.get(row.checkpoint_id or ""),
            result=figures.result_of(row),
            inputs=_inputs(ports, row.kind, known, weights.get(row.checkpoint_id or ""), file),
        )
        for row, known, file in zip(rows, digests, reports, strict=True)
    ]
    return page(request, "compare.html", comparison=compare(columns), interval=interval_text)


def _wrong(ids: Sequence[str]) -> tuple[str, str] | None:
    if not LEAST_COMPARED <= len(ids) <= MOST_COMPARED:
        chosen = {0: "No job is chosen", 1: "Only one job is chosen"}.get(
            len(ids), f"{len(ids)} jobs are chosen"
        )
        return (
            f"{chosen}; {LEAST_COMPARED} to {MOST_COMPARED} can be compared.",
            "Go to the jobs, tick the boxes of those to compare, and choose Compare.",
        )
    if not all(is_id("job", one) for one in ids):
        return "One of these is not an id of a job.", "Go to the jobs and choose them there."
    return None


def _missing(ids: Sequence[str], jobs_by_id: Mapping[str, Job]) -> tuple[str, str] | None:
    missing = [one for one in ids if one not in jobs_by_id]
    if not missing:
        return None
    return (
        f"There is no job {missing[0]} in this project.",
        "It may have been deleted. Choose from the jobs in the list.",
    )


def _others(jobs: Sequence[Job]) -> tuple[str, str] | None:
    if all(KINDS[job.kind].measures_model for job in jobs):
        return None
    return (
        "A vetting measures data and no model, and cannot be compared.",
        "Choose scans, audits and cleanings only; each vetting has its own page.",
    )


def _digests(unit: UnitOfWork, job: Job) -> dict[str, str | None]:
    """As the validation of the datasets counted them; a job reads no other bytes."""
    named = {
        "training": job.dataset_id,
        "labelled": job.labelled_dataset_id,
        "retrieval": job.retrieval_dataset_id,
    }
    digests = unit.datasets.digests(job.project_id, job.dataset_ids)
    return {use: digests.get(dataset_id) for use, dataset_id in named.items() if dataset_id is not None}


def _report_file(unit: UnitOfWork, job: Job) -> Artifact | None:
    if job.state is not JobState.SUCCEEDED:
        return None
    return unit.artifacts.named(job.project_id, job.id, REPORT_NAME)


def _inputs(
    ports: Ports,
    kind: JobKind,
    digests: Mapping[str, str | None],
    weights_sha256: str | None,
    file: Artifact | None,
) -> Inputs:
    """By the report where there is one: it says what was read."""
    report = None if file is None else _read(ports, file, KINDS[kind])
    if report is None:
        return Inputs(data=digests, weights_sha256=weights_sha256, code_version=None)
    read: dict[str, str | None] = {
        "training" if one.kind == "pairs" else one.kind: one.sha256 for one in report.data
    }
    return Inputs(
        data={**digests, **read}, weights_sha256=weights_sha256, code_version=report.environment.code_version
    )


def _read(ports: Ports, file: Artifact, kind: Kind) -> AnyReport | None:
    """None where it cannot be read now: the figures are in the database, only its version is missing."""
    try:
        return fetch(ports.store, file.object_key, loader(kind.name, kind.report))
    except ReportUnreadable as error:
        log.warning("report_unreadable", job_id=file.job_id, cause=str(error))
        return None
