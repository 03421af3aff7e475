"""Routes of nulls: list and read. Operators add them (`python -m app.cli add-null`) for every project."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.api.answers import cached_answer, etag_of, page_of, refusals
from app.api.auth import Reader
from app.api.paths import After, Limit, NullPath
from app.api.turns import IN_TURN
from app.domain.limits import DEFAULT_PAGE
from app.live.ports import PortsDep
from app.schemas.nulls import NullOut, NullPage

router = APIRouter(prefix="/v1/nulls", tags=["nulls"])


@router.get(
    "",
    summary="Nulls that scans are judged by, newest first",
    response_model=NullPage,
    responses=refusals(304, 422),
    dependencies=[IN_TURN],
)
def list_nulls(
    *, request: Request, caller: Reader, ports: PortsDep, after: After = None, limit: Limit = DEFAULT_PAGE
) -> Response:
    """Each with what a scan must have in common with it. They are the same for every project."""
    with ports.database.unit_of_work(caller.project_id) as unit:
        rows, has_more = unit.nulls.page(after, limit)
    etag = etag_of([has_more, *(row.id for row in rows)])
    return cached_answer(request, etag, lambda: page_of(NullPage, map(NullOut.of, rows), has_more))


@router.get("/{null_id}", summary="What a null is of", response_model=NullOut, responses=refusals(304, 404))
def get_null(null_id: NullPath, request: Request, caller: Reader, ports: PortsDep) -> Response:
    """A null never changes. A scan that was judged by it has its file among its artifacts."""
    with ports.database.unit_of_work(caller.project_id) as unit:
        row = unit.nulls.get(null_id)
    return cached_answer(request, row.sha256, lambda: NullOut.of(row))
