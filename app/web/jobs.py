"""The list of jobs."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from app.domain.states import JobKind, JobState
from app.process.ports import PortsDep
from app.web.rendering import page
from app.web.visitor import Reader

PER_PAGE = 25

router = APIRouter()


@router.get("/jobs")
def show_jobs(
    *,
    request: Request,
    visitor: Reader,
    ports: PortsDep,
    after: Annotated[str | None, Query(max_length=64)] = None,
    state: JobState | None = None,
    kind: JobKind | None = None,
) -> Response:
    """Newest first."""
    project_id = visitor.caller.project_id
    with ports.database.unit_of_work(project_id) as unit:
        jobs, has_more = unit.jobs.page(project_id, after, PER_PAGE, state=state, kind=kind)
    return page(request, "jobs.html", jobs=jobs, has_more=has_more, state=state, kind=kind)
