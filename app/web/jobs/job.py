"""The page of one job, live while it runs, and what is done from it: cancel, pause, resume, retry, rename,
delete."""

from typing import get_args

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.domain.errors import Conflict, InvalidInput, QuotaExceeded
from app.domain.states import JobState
from app.edge.event_stream import EventStream
from app.live.ports import PortsDep
from app.services import deletions, jobs
from app.web.jobs.job_view import job_page
from app.web.kit.addresses import JobPath
from app.web.kit.fields import read_name_or_none
from app.web.kit.rendering import see_other
from app.web.kit.visitor import FormDep, Reader, Runner

router = APIRouter()


@router.get("/jobs/{job_id}")
def show_job(request: Request, job_id: JobPath, visitor: Reader, ports: PortsDep) -> Response:
    """Everything of it."""
    return job_page(request, ports, visitor, job_id)


@router.get("/jobs/{job_id}/live")
def show_live(request: Request, job_id: JobPath, visitor: Reader, ports: PortsDep) -> Response:
    """The parts of the page, for static/job.js to put in the place of those that changed."""
    return job_page(request, ports, visitor, job_id, template="job_parts.html")


@router.get("/jobs/{job_id}/stream")
async def stream(job_id: JobPath, visitor: Reader, ports: PortsDep) -> Response:
    """`job` at once and after every change, `done` at the end: what the page takes as a hint to look.

    The same streams as those of the API, under the same limits; the page goes on by polling where one is
    refused. Events are not repeated: the page shows them from its own look.
    """
    row = await ports.jobs.get(visitor.caller.project_id, job_id)
    if row is None:
        raise jobs.not_found(job_id)
    follower = ports.followers.follow(visitor.caller, job_id, row.event_seq)
    return EventStream(follower, ports.followers, ports.settings.streams)


def _add_action(action: jobs.Action) -> None:
    @router.post(f"/jobs/{{job_id}}/{action}")
    def act(
        *, request: Request, job_id: JobPath, visitor: Runner, form: FormDep, ports: PortsDep
    ) -> Response:
        """Back to the job's page; it says what was refused, mostly because the job is further by now."""
        del form
        try:
            with ports.database.unit_of_work(visitor.caller.project_id) as unit:
                job = jobs.act(unit, visitor.caller, job_id, action, ports.settings.quotas)
        except (Conflict, QuotaExceeded) as refusal:
            return job_page(request, ports, visitor, job_id, refusal=refusal)
        if job.state is JobState.QUEUED:
            ports.hint(job)
        return see_other(f"/ui/jobs/{job_id}")


for _action in get_args(jobs.Action):
    _add_action(_action)


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
