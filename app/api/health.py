"""Routes for those who run the service: alive, ready, metrics. No key; nothing of any customer in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooSlow
from typing import Literal

from fastapi import APIRouter
from starlette.responses import Response

from app.api.answers import json_answer
from app.logs import get_logger
from app.process.metrics import CONTENT_TYPE
from app.process.ports import PortsDep
from app.schemas.common import WireOut

router = APIRouter(tags=["operations"])
log = get_logger(__name__)

CHECK_TIMEOUT_S = 2.0
Verdict = Literal["ok", "failing"]


class HealthOut(WireOut):
    status: Literal["ok"] = "ok"


class ReadinessOut(WireOut):
    """`broker` failing alone leaves the service ready: jobs are accepted and wait for the sweeper's hints."""

    status: Literal["ready", "not_ready"]
    database: Verdict
    store: Verdict
    broker: Verdict


@router.get("/healthz", operation_id="get_health", summary="The process answers", response_model=HealthOut)
async def get_health() -> Response:
    """Asks nobody else: a failing database must not make an orchestrator kill this process."""
    return json_answer(HealthOut())


@router.get(
    "/readyz",
    operation_id="get_readiness",
    summary="The parts that requests need answer",
    response_model=ReadinessOut,
    responses={503: {"model": ReadinessOut, "description": "The database or the object store is failing."}},
)
def get_readiness(ports: PortsDep) -> Response:
    """Each part has two seconds to answer."""
    found = _checked(
        {
            "database": ports.database.ping,
            "store": ports.store.check,
            "broker": lambda: _require(ports.publisher.depth()),
        }
    )
    is_ready = found["database"] == "ok" and found["store"] == "ok"
    body = ReadinessOut(status="ready" if is_ready else "not_ready", **found)
    return json_answer(body, status=200 if is_ready else 503)


def _require(depth: int | None) -> None:
    if depth is None:
        raise ConnectionError("the broker does not answer")


def _checked(checks: Mapping[str, Callable[[], None]]) -> dict[str, Verdict]:
    threads = ThreadPoolExecutor(len(checks), thread_name_prefix="readyz")
    running = {name: threads.submit(check) for name, check in checks.items()}
    found: dict[str, Verdict] = {}
    for name, future in running.items():
        try:
            future.result(timeout=CHECK_TIMEOUT_S)
            found[name] = "ok"
        except (Exception, TooSlow) as error:  # noqa: BLE001 - whatever it is, the part is not ready
            log.warning("not_ready", part=name, cause=repr(error))
            found[name] = "failing"
    threads.shutdown(wait=False)
    return found


@router.get(
    "/metrics",
    operation_id="get_metrics",
    summary="Prometheus metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
def get_metrics(ports: PortsDep) -> Response:
    """Requests by route and status, latencies, jobs by kind and state."""
    return Response(ports.metrics.render(), headers={"Content-Type": CONTENT_TYPE})
