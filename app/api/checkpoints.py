"""Routes of checkpoints: fetch, list, read, delete."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from app.api.answers import cached_answer, etag_of, page_of, refusals
from app.api.auth import Reader, Uploader
from app.api.deletions import deletion_answer
from app.api.idempotency import OnceDep
from app.api.paths import After, CheckpointPath, Limit
from app.api.turns import IN_TURN
from app.db.repositories.verdicts import NO_VERDICTS
from app.domain.limits import DEFAULT_PAGE
from app.domain.states import CheckpointState
from app.domain.verdicts import MOST_SHOWN
from app.live.ports import PortsDep
from app.schemas.checkpoints import CheckpointIn, CheckpointOut, CheckpointPage
from app.schemas.deletions import DeletionOut
from app.services import checkpoints, deletions, sources
from cleanclip.vocabulary.recipe import DeclaredOptions

router = APIRouter(prefix="/v1/checkpoints", tags=["checkpoints"])

Sha256Filter = Annotated[
    str | None,
    Query(
        pattern="^[0-9a-f]{64}$",
        description="Only those whose uploaded bytes have this SHA-256; it is known after their inspection.",
    ),
]


@router.post(
    "",
    summary="Let the service fetch a checkpoint",
    status_code=202,
    response_model=CheckpointOut,
    responses=refusals(409, 413, 422, 429),
)
def create_checkpoint(body: CheckpointIn, caller: Uploader, ports: PortsDep, once: OnceDep) -> Response:
    """From a model hub or another server whose host the operator allows, or from the store. It is fetched and
    inspected like an upload; what could not be fetched is rejected, and its `error` says why. A branch is
    looked up once, and `source.commit` says what it was."""
    source = sources.allowed(
        body.source, project_id=caller.project_id, own_bucket=ports.store.bucket, settings=ports.settings
    )
    file = sources.announced(
        source,
        max_size_bytes=body.max_size_bytes,
        sha256=body.sha256,
        declared=body.declared or DeclaredOptions(),
        settings=ports.settings,
    )
    with ports.database.unit_of_work(caller.project_id) as unit:
        if (answer := once.seen(unit, caller)) is not None:
            return answer
        row, job = sources.order(unit, caller, body.source, file, ports.settings)
        headers = {"Location": f"/v1/checkpoints/{row.id}"}
        answer = once.keep(unit, CheckpointOut.of(row, NO_VERDICTS), status=202, headers=headers)
    ports.hint(job)
    return answer


@router.get(
    "",
    summary="Checkpoints, newest first",
    response_model=CheckpointPage,
    responses=refusals(304, 422),
    dependencies=[IN_TURN],
)
def list_checkpoints(
    *,
    request: Request,
    caller: Reader,
    ports: PortsDep,
    after: After = None,
    limit: Limit = DEFAULT_PAGE,
    state: CheckpointState | None = None,
    sha256: Sha256Filter = None,
) -> Response:
    """Deleted ones are not listed. The architecture, assumptions and findings are only in the single
    checkpoint (`GET /v1/checkpoints/{id}`)."""
    with ports.database.unit_of_work(caller.project_id) as unit:
        rows, has_more = unit.checkpoints.page(caller.project_id, after, limit, state=state, sha256=sha256)
        judged = checkpoints.worst_verdicts(unit, caller.project_id, rows)
    etag = etag_of(
        [
            has_more,
            *((row.id, row.updated_at, verdicts.mark) for row, verdicts in zip(rows, judged, strict=True)),
        ]
    )
    return cached_answer(
        request,
        etag,
        lambda: page_of(CheckpointPage, map(CheckpointOut.of, rows, judged), has_more),
    )


@router.get(
    "/{checkpoint_id}",
    summary="What a checkpoint is, or why it was rejected",
    response_model=CheckpointOut,
    responses=refusals(304, 404),
)
def get_checkpoint(
    checkpoint_id: CheckpointPath, request: Request, caller: Reader, ports: PortsDep
) -> Response:
    """quarantined → scanning → accepted | rejected. With every verdict on the same weights, worst first."""
    with ports.database.unit_of_work(caller.project_id) as unit:
        row = unit.checkpoints.get(caller.project_id, checkpoint_id)
        verdicts = unit.verdicts.on(caller.project_id, row.weights_sha256, MOST_SHOWN)
    etag = etag_of([row.id, row.updated_at, row.state, verdicts.mark])
    return cached_answer(request, etag, lambda: CheckpointOut.of(row, verdicts))


@router.delete(
    "/{checkpoint_id}",
    summary="Delete a checkpoint and its files",
    status_code=202,
    response_model=DeletionOut,
    responses=refusals(404, 409),
)
def delete_checkpoint(checkpoint_id: CheckpointPath, caller: Uploader, ports: PortsDep) -> Response:
    """Its files are removed by one of the next sweeps; the answer names the

    receipt. Refused while unfinished jobs read it. Finished jobs that used it stay as they are."""
    with ports.database.unit_of_work(caller.project_id) as unit:
        row = deletions.delete_checkpoint(unit, caller, checkpoint_id)
    return deletion_answer(row)
