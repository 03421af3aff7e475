"""What the project uses of its quotas, and what frees it."""

from collections.abc import Callable
from dataclasses import dataclass

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.domain.quotas import QuotaName
from app.live.ports import PortsDep
from app.live.request_rates import num_counted
from app.services import quotas
from app.web.kit.rendering import bytes_text, page
from app.web.kit.visitor import Reader

NEARLY = 0.9
"""Of a quota: over this share the page says that it is nearly used up."""

router = APIRouter()


def _number(value: int) -> str:
    return f"{value:,}"


@dataclass(frozen=True, kw_only=True)
class Quota:
    """One quota. `what`: what counts; `then`: what happens at the limit, and what frees it."""

    name: QuotaName
    label: str
    what: str
    then: str
    text: Callable[[int], str] = _number
    frees: tuple[tuple[str, str], ...] = ()


QUOTAS = (
    Quota(
        name=QuotaName.STORED_BYTES,
        label="Stored bytes",
        what="Uploaded checkpoints and shards, and the files that inspections and jobs left. Datasets by"
        " reference are not counted.",
        then="At the limit no upload and no job is accepted. Deleting frees them, with a later sweep:"
        " jobs with their outputs, checkpoints, and datasets that were uploaded, once their shards expire.",
        text=bytes_text,
        frees=(
            ("Delete checkpoints", "/ui/checkpoints"),
            ("Delete datasets", "/ui/datasets"),
            ("Delete jobs", "/ui/jobs?state=succeeded"),
        ),
    ),
    Quota(
        name=QuotaName.BYTES_IN_FLIGHT,
        label="Bytes of open uploads",
        what="The sizes of open uploads together, as they were declared.",
        then="At the limit no new upload can start. Completing or cancelling one frees its "
        "bytes; one that is left"
        " alone expires.",
        text=bytes_text,
    ),
    Quota(
        name=QuotaName.OPEN_UPLOADS,
        label="Open uploads",
        what="Uploads that were announced and are not complete.",
        then="At the limit no new upload can start. Completing or cancelling one makes room; "
        "one that is left alone"
        " expires.",
        frees=(("Open uploads", "/ui/checkpoints"),),
    ),
    Quota(
        name=QuotaName.ROW_BYTES,
        label="Bytes in the database",
        what="Every job takes 16 KiB, every other thing 4 KiB, and more where it is large: class names,"
        " images in an order, an inspection.",
        then="At the limit nothing new is ordered, registered or uploaded. Deleting jobs and datasets frees"
        " them, with a later sweep.",
        text=bytes_text,
        frees=(("Delete jobs", "/ui/jobs?state=succeeded"), ("Delete datasets", "/ui/datasets")),
    ),
    Quota(
        name=QuotaName.RUNNING_JOBS,
        label="Running jobs",
        what="Audits and cleanings that are running, in each queue.",
        then="More wait for their turn; nothing is refused.",
        frees=(("Running jobs", "/ui/jobs?state=running"),),
    ),
    Quota(
        name=QuotaName.WAITING_JOBS,
        label="Waiting jobs",
        what="Jobs that wait for a worker; the inspection of uploads and the validation of datasets, too.",
        then="At the limit nothing new is ordered. Wait until some have started, or cancel some.",
        frees=(("Waiting jobs", "/ui/jobs?state=queued"),),
    ),
    Quota(
        name=QuotaName.REQUESTS_PER_MINUTE,
        label="Requests in this minute",
        what="Calls of the API and pages, of everybody in the project.",
        then="More are refused until the minute is over.",
    ),
)


@router.get("/usage")
def show_usage(request: Request, visitor: Reader, ports: PortsDep) -> Response:
    """As it is at this moment."""
    with ports.database.unit_of_work(visitor.caller.project_id) as unit:
        usage = quotas.usage_of(unit, visitor.caller.project_id, ports.settings.quotas)
    current = {
        QuotaName.STORED_BYTES: usage.stored_bytes,
        QuotaName.BYTES_IN_FLIGHT: usage.bytes_in_flight,
        QuotaName.OPEN_UPLOADS: usage.open_uploads,
        QuotaName.ROW_BYTES: usage.row_bytes,
        QuotaName.RUNNING_JOBS: usage.running_jobs,
        QuotaName.WAITING_JOBS: usage.waiting_jobs,
        QuotaName.REQUESTS_PER_MINUTE: num_counted(request.scope),
    }
    limits = {quota.name: int(getattr(usage.limits, quota.name.value)) for quota in QUOTAS}
    return page(request, "usage.html", quotas=QUOTAS, current=current, limits=limits, nearly=NEARLY)
