"""The route of the trail."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from app.api.answers import json_answer, page_of, refusals
from app.api.auth import Admin
from app.api.paths import After, Limit
from app.api.turns import IN_TURN
from app.domain.limits import DEFAULT_PAGE
from app.live.ports import PortsDep
from app.schemas.trail import TrailEntryOut, TrailPage

router = APIRouter(prefix="/v1/trail", tags=["trail"])

ActionFilter = Annotated[str | None, Query(max_length=64, pattern=r"^[a-z_]+\.[a-z_]+$")]
IdFilter = Annotated[str | None, Query(max_length=64, pattern="^[a-z]{2,4}_[0-9a-z]{26}$")]


@router.get(
    "",
    summary="Who changed what, newest first",
    response_model=TrailPage,
    responses=refusals(422),
    dependencies=[IN_TURN],
)
def list_trail_entries(
    *,
    caller: Admin,
    ports: PortsDep,
    after: After = None,
    limit: Limit = DEFAULT_PAGE,
    action: ActionFilter = None,
    target_id: IdFilter = None,
    key_id: IdFilter = None,
) -> Response:
    """Every change by a request or an operator, and every refused attempt to manage keys. Scope admin."""
    with ports.database.unit_of_work(caller.project_id) as unit:
        rows, has_more = unit.trail.page(
            caller.project_id, after, limit, action=action, target_id=target_id, key_id=key_id
        )
        names = unit.api_keys.names(caller.project_id, {row.key_id for row in rows if row.key_id})
    return json_answer(page_of(TrailPage, [TrailEntryOut.of(row, names) for row in rows], has_more))
