"""Route of what can be ordered: methods, attacks, audits and policies, with their bounds and defaults."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.api.answers import cached_answer, etag_of, refusals
from app.api.auth import Reader
from app.schemas.methods import MethodsOut

router = APIRouter(prefix="/v1/methods", tags=["methods"])


@router.get(
    "",
    summary="Methods and attacks, with their options, bounds and defaults",
    response_model=MethodsOut,
    responses=refusals(304),
)
def list_methods(request: Request, caller: Reader) -> Response:
    """The same for every caller; changes only with the version of the service."""
    known = MethodsOut.known()
    etag = etag_of([known.model_dump_json()])
    return cached_answer(request, etag, lambda: known)
