"""The page of one job, live while it runs."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.edge.event_stream import EventStream
from app.live.ports import PortsDep
from app.services import jobs
from app.web.jobs.job_view import job_page
from app.web.kit.addresses import JobPath
from app.web.kit.visitor import Reader

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
