"""Routes for those who run the service: alive, ready, metrics. No key; nothing of any customer in them."""

from typing import Literal

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.responses import Response

from app.api.answers import json_answer
from app.live.metrics import CONTENT_TYPE
from app.live.ports import PortsDep
from app.schemas.common import WireOut

router = APIRouter(tags=["operations"])
Verdict = Literal["ok", "failing"]


class HealthOut(WireOut):
    status: Literal["ok"] = "ok"


class ReadinessOut(WireOut):
    """`broker` failing alone leaves the service ready: jobs are accepted and wait for the sweeper's hints."""

    status: Literal["ready", "not_ready"]
    database: Verdict
    store: Verdict
    broker: Verdict


@router.get("/healthz", summary="The process answers", response_model=HealthOut)
async def get_health() -> Response:
    """It checks nothing else: a failing database must not make an orchestrator kill this process."""
    return json_answer(HealthOut())


@router.get(
    "/readyz",
    summary="The parts that requests need answer",
    response_model=ReadinessOut,
    responses={503: {"model": ReadinessOut, "description": "The database or the object store is failing."}},
)
async def get_readiness(ports: PortsDep) -> Response:
    """Each part has two seconds to answer; an answer is cached for two more. The database and the broker
    are tested with a write, because with a full disk they can still read."""
    failing = await ports.readiness.failing()
    is_ready = failing <= {"broker"}
    verdicts: dict[str, Verdict] = {
        part: "failing" if part in failing else "ok" for part in ("database", "store", "broker")
    }
    body = ReadinessOut(status="ready" if is_ready else "not_ready", **verdicts)
    return json_answer(body, status=200 if is_ready else 503)


@router.get(
    "/metrics",
    summary="Prometheus metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
def get_metrics(ports: PortsDep) -> Response:
    """Requests by route and status, latencies, jobs by kind and state. Not on this
    port if CLEANCLIP_METRICS__PORT is set."""
    if ports.settings.metrics.port is not None:
        raise HTTPException(404)
    return Response(ports.metrics.render(), headers={"Content-Type": CONTENT_TYPE})
