"""What can be done to a job from its page: cancel, pause, resume, retry, rename, delete."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.domain.errors import Conflict, InvalidInput, QuotaExceeded
from app.domain.states import JobState
from app.live.ports import Ports, PortsDep
from app.services import deletions, jobs
from app.services.jobs import Action
from app.web.jobs.job_view import job_page
from app.web.kit.addresses import JobPath
from app.web.kit.fields import read_name_or_none
from app.web.kit.rendering import see_other
from app.web.kit.visitor import FormDep, Runner, Visitor

router = APIRouter()


@router.post("/jobs/{job_id}/cancel")
def cancel(*, request: Request, job_id: JobPath, visitor: Runner, form: FormDep, ports: PortsDep) -> Response:
    """Stop it for good."""
    del form
    return _act(request, ports, visitor, jobs.cancel, job_id)


@router.post("/jobs/{job_id}/pause")
def pause(*, request: Request, job_id: JobPath, visitor: Runner, form: FormDep, ports: PortsDep) -> Response:
    """Its worker saves the training state and lets go."""
    del form
    return _act(request, ports, visitor, jobs.pause, job_id)


@router.post("/jobs/{job_id}/resume")
def resume(*, request: Request, job_id: JobPath, visitor: Runner, form: FormDep, ports: PortsDep) -> Response:
    """Go on; or withdraw a pause that was asked for."""
    del form
    return _act(request, ports, visitor, jobs.with_a_place(jobs.resume, ports.settings.quotas), job_id)


@router.post("/jobs/{job_id}/retry")
def retry(*, request: Request, job_id: JobPath, visitor: Runner, form: FormDep, ports: PortsDep) -> Response:
    """With all its attempts again."""
    del form
    return _act(request, ports, visitor, jobs.with_a_place(jobs.retry, ports.settings.quotas), job_id)


@router.post("/jobs/{job_id}/rename")
def rename(*, request: Request, job_id: JobPath, visitor: Runner, form: FormDep, ports: PortsDep) -> Response:
    """Back to its page, which says why where the name is not taken."""
    try:
        name = read_name_or_none(form)
    except InvalidInput as refusal:
        return job_page(request, ports, visitor, job_id, refusal=refusal)
    with ports.database.unit_of_work(visitor.caller.project_id) as unit:
        jobs.rename(unit, visitor.caller, job_id, name)
    return see_other(f"/ui/jobs/{job_id}")


@router.post("/jobs/{job_id}/delete")
def delete(*, request: Request, job_id: JobPath, visitor: Runner, form: FormDep, ports: PortsDep) -> Response:
    """The job, its files, its events."""
    del form
    try:
        with ports.database.unit_of_work(visitor.caller.project_id) as unit:
            deletions.delete_job(unit, visitor.caller, job_id)
    except Conflict as refusal:
        return job_page(request, ports, visitor, job_id, refusal=refusal)
    return see_other("/ui/jobs")


def _act(request: Request, ports: Ports, visitor: Visitor, action: Action, job_id: str) -> Response:
    """Back to the job's page; it says what was refused, mostly because the job is further by now."""
    try:
        with ports.database.unit_of_work(visitor.caller.project_id) as unit:
            job = action(unit, visitor.caller, job_id)
    except (Conflict, QuotaExceeded) as refusal:
        return job_page(request, ports, visitor, job_id, refusal=refusal)
    if job.state is JobState.QUEUED:
        ports.hint(job)
    return see_other(f"/ui/jobs/{job_id}")
