"""Routes of deletions: the receipts. What can be deleted has its DELETE beside it."""

from fastapi import APIRouter
from starlette.responses import Response

from app.api.answers import POLL_AFTER_S, json_answer, page_of, refusals
from app.api.auth import Reader
from app.api.paths import After, DeletionPath, Limit
from app.api.turns import IN_TURN
from app.db.models.assets import Deletion
from app.domain.limits import DEFAULT_PAGE
from app.live.ports import PortsDep
from app.schemas.deletions import DeletionOut, DeletionPage

router = APIRouter(prefix="/v1/deletions", tags=["deletions"])


def deletion_answer(row: Deletion) -> Response:
    """202: it is found no more, and goes; where the receipt will be."""
    headers = {"Location": f"/v1/deletions/{row.id}", "Retry-After": str(POLL_AFTER_S)}
    return json_answer(DeletionOut.of(row), status=202, headers=headers)


@router.get(
    "",
    summary="Deletions, newest first",
    response_model=DeletionPage,
    responses=refusals(422),
    dependencies=[IN_TURN],
)
def list_deletions(
    caller: Reader, ports: PortsDep, after: After = None, limit: Limit = DEFAULT_PAGE
) -> Response:
    """Including those made by the retention setting."""
    with ports.database.unit_of_work(caller.project_id) as unit:
        rows, has_more = unit.deletions.page(caller.project_id, after, limit)
    return json_answer(page_of(DeletionPage, map(DeletionOut.of, rows), has_more))


@router.get(
    "/{deletion_id}",
    summary="The state of a deletion, and its receipt when it is done",
    response_model=DeletionOut,
    responses=refusals(404),
)
def get_deletion(deletion_id: DeletionPath, caller: Reader, ports: PortsDep) -> Response:
    """The record stays after the data is deleted."""
    with ports.database.unit_of_work(caller.project_id) as unit:
        row = unit.deletions.get(caller.project_id, deletion_id)
    return json_answer(DeletionOut.of(row))
