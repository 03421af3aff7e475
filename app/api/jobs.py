"""Routes of jobs: order, list, read, cancel, pause, resume, retry, and what happened to them."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from app.api.answers import (
    POLL_AFTER_S,
    asks_conditionally,
    cache_headers,
    etag_of,
    is_unchanged,
    json_answer,
    json_page,
    not_modified,
    refusals,
)
from app.api.auth import Reader, Runner
from app.api.deletions import deletion_answer
from app.api.idempotency import OnceDep
from app.api.paths import After, JobPath, Limit
from app.api.turns import IN_TURN
from app.db.models.job import Job
from app.domain.limits import DEFAULT_PAGE
from app.domain.states import JobKind, JobState
from app.live.ports import PortsDep
from app.schemas.common import RenameOrClearIn
from app.schemas.deletions import DeletionOut
from app.schemas.jobs import EventOut, EventPage, JobOut, JobPage, KindName, job_etag
from app.schemas.orders import JobIn
from app.schemas.verdicts import VerdictList
from app.services import deletions, found_attacks, jobs, quotas
from app.services.orders import Order

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])


@router.post(
    "",
    summary="Order a job",
    status_code=202,
    response_model=JobOut,
    responses=refusals(404, 409, 413, 422),
)
def create_job(body: JobIn, caller: Runner, ports: PortsDep, once: OnceDep) -> Response:
    """Checked before it is accepted: the checkpoint, the datasets, the target class, every bound."""
    order = Order.of(body, default_max_attempts=ports.settings.jobs.max_attempts)
    if order.attacks_from_scan is not None:  # the store is read in no transaction
        with ports.database.unit_of_work(caller.project_id) as unit:
            if (answer := once.glance(unit, caller)) is not None:
                return answer
        order = found_attacks.with_found(ports.database, ports.store, caller, order)
    with ports.database.unit_of_work(caller.project_id) as unit:
        if (answer := once.seen(unit, caller)) is not None:
            return answer
        quotas.check_new_job(unit, caller.project_id, ports.settings.quotas)
        job = jobs.create(unit, caller, order, ports.settings.worker)
        answer = once.keep(unit, JobOut.of(job), status=202, headers=_pending(job))
    ports.hint(job)
    return answer


def _pending(job: Job) -> dict[str, str]:
    return {"Location": f"/v1/jobs/{job.id}", "Retry-After": str(POLL_AFTER_S)}


@router.get(
    "",
    summary="Jobs, newest first",
    response_model=JobPage,
    responses=refusals(304, 422),
    dependencies=[IN_TURN],
)
def list_jobs(
    *,
    request: Request,
    caller: Reader,
    ports: PortsDep,
    after: After = None,
    limit: Limit = DEFAULT_PAGE,
    state: JobState | None = None,
    kind: KindName | None = None,
) -> Response:
    """Filter by `state` and `kind`."""
    with ports.database.unit_of_work(caller.project_id) as unit:
        versions, has_more = unit.jobs.page(
            caller.project_id, after, limit, state=state, kind=None if kind is None else JobKind(kind)
        )
        etag = etag_of([has_more, *versions.items()])
        if is_unchanged(request, etag):
            return not_modified(etag)
        written = ports.written_jobs.of(versions)
        missing = versions.keys() - written.keys()
        rows = unit.jobs.listed(caller.project_id, missing) if missing else ()
    fresh = {row.id: JobOut.of(row).model_dump_json().encode() for row in rows}
    ports.written_jobs.keep((row.id, row.version, fresh[row.id]) for row in rows)
    texts = {id: text for id in versions if (text := written.get(id) or fresh.get(id))}  # noqa: A001
    return json_page(texts, has_more, headers=cache_headers(etag))


@router.get("/{job_id}", summary="The state of a job", response_model=JobOut, responses=refusals(304, 404))
async def get_job(job_id: JobPath, request: Request, caller: Reader, ports: PortsDep) -> Response:
    """Poll with `If-None-Match`: an unchanged job gives a 304 without a body."""
    if asks_conditionally(request):
        version = await ports.job_versions.get(caller.project_id, job_id)
        if version is not None and is_unchanged(request, etag := job_etag(job_id, version)):
            return not_modified(etag)
    row = await ports.jobs.get(caller.project_id, job_id)
    if row is None:
        raise jobs.not_found(job_id)
    return json_answer(JobOut.of(row), headers=cache_headers(job_etag(row.id, row.version)))


@router.get(
    "/{job_id}/verdicts",
    summary="Every verdict on the weights that the job judged, worst first",
    response_model=VerdictList,
    responses=refusals(404, 422),
    dependencies=[IN_TURN],
)
def list_job_verdicts(
    job_id: JobPath, caller: Reader, ports: PortsDep, limit: Limit = DEFAULT_PAGE
) -> Response:
    """An audit judges the weights of its checkpoint, a cleaning the weights that it made.

    Other jobs of the project may have given the same weights a worse verdict. Until a cleaning has succeeded,
    the verdicts are on its input weights; the list is empty until its first audit is done.
    """
    with ports.database.unit_of_work(caller.project_id) as unit:
        jobs.get(unit, caller.project_id, job_id)
        own, verdicts = unit.verdicts.of_job(caller.project_id, job_id, limit)
    return json_answer(VerdictList.of(own.weights_sha256 if own else None, verdicts))


@router.patch(
    "/{job_id}", summary="Give a job another name", response_model=JobOut, responses=refusals(404, 413, 422)
)
def rename_job(job_id: JobPath, body: RenameOrClearIn, caller: Runner, ports: PortsDep) -> Response:
    """Possible in every state. Names are labels for people: requests use ids, and two jobs may have the
    same name. A report keeps the name that its job had when the report was written."""
    with ports.database.unit_of_work(caller.project_id) as unit:
        renamed = JobOut.of(jobs.rename(unit, caller, job_id, body.name))
    return json_answer(renamed)


def _add_action(action: jobs.Action, summary: str, description: str) -> None:
    def act(job_id: JobPath, caller: Runner, ports: PortsDep, once: OnceDep) -> Response:
        with ports.database.unit_of_work(caller.project_id) as unit:
            if (answer := once.seen(unit, caller)) is not None:
                return answer
            job = jobs.act(unit, caller, job_id, action, ports.settings.quotas)
            answer = once.keep(unit, JobOut.of(job), status=202, headers=_pending(job))
        if job.state is JobState.QUEUED:
            ports.hint(job)
        return answer

    router.add_api_route(
        f"/{{job_id}}/{action}",
        act,
        methods=["POST"],
        name=f"{action}_job",
        summary=summary,
        description=description,
        status_code=202,
        response_model=JobOut,
        responses=refusals(404, 409),
    )


_add_action(
    "cancel",
    "Stop a job for good",
    "A waiting job is cancelled at once, a running one within seconds. A second call changes nothing.",
)
_add_action(
    "pause",
    "Pause a job: save what it has and free the worker",
    "A running job shows `pause_requested` until its state is saved.",
)
_add_action(
    "resume", "Resume a paused job", "It continues from the saved state and ends as if it had never stopped."
)
_add_action(
    "retry",
    "Try a failed job again",
    "The job gets all its attempts again. It starts from its last saved state if a lost worker or an outage "
    "ended it, and from the beginning after every other failure.",
)


@router.delete(
    "/{job_id}",
    summary="Delete a finished job and its files",
    status_code=202,
    response_model=DeletionOut,
    responses=refusals(404, 409),
)
def delete_job(job_id: JobPath, caller: Runner, ports: PortsDep) -> Response:
    """Its outputs, report, events and saved states are removed by one of the next sweeps.

    The answer names the receipt.
    """
    with ports.database.unit_of_work(caller.project_id) as unit:
        row = deletions.delete_job(unit, caller, job_id)
    return deletion_answer(row)


@router.get(
    "/{job_id}/events",
    summary="What happened to a job, oldest first",
    response_model=EventPage,
    responses=refusals(404, 422),
    dependencies=[IN_TURN],
)
def list_job_events(
    job_id: JobPath,
    caller: Reader,
    ports: PortsDep,
    after: Annotated[int | None, Query(ge=0, le=2**53, description="Only events with a larger seq.")] = None,
    limit: Limit = 100,
) -> Response:
    """Numbers grow by one without a gap: `after` = the last one that you have seen."""
    with ports.database.unit_of_work(caller.project_id) as unit:
        jobs.get(unit, caller.project_id, job_id)
        rows, has_more = unit.events.page(caller.project_id, job_id, after, limit)
    data = [EventOut.of(row) for row in rows]
    return json_answer(
        EventPage(
            data=data,
            has_more=has_more,
            first_seq=data[0].seq if data else None,
            last_seq=data[-1].seq if data else None,
        )
    )
