"""The route of quotas: what a project uses and may use."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.api.answers import json_answer, refusals
from app.api.auth import Reader
from app.live.ports import PortsDep
from app.live.request_rates import num_counted
from app.schemas.usage import UsageOut
from app.services import quotas

router = APIRouter(prefix="/v1", tags=["usage"])


@router.get(
    "/usage", summary="What the project uses, and its limits", response_model=UsageOut, responses=refusals()
)
def get_usage(request: Request, caller: Reader, ports: PortsDep) -> Response:
    """Jobs beyond the limit on running jobs wait; everything else beyond its limit fails with 429."""
    with ports.database.unit_of_work(caller.project_id) as unit:
        usage = quotas.usage_of(unit, caller.project_id, ports.settings.quotas)
    return json_answer(UsageOut.of(usage, num_counted(request.scope)))
