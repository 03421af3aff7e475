"""Routes of datasets: register, list, read, delete."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.api.answers import (
    POLL_AFTER_S,
    cached_answer,
    etag_of,
    json_answer,
    page_of,
    refusals,
    stored_answer,
)
from app.api.auth import Reader, Uploader
from app.api.deletions import deletion_answer
from app.api.idempotency import OnceDep
from app.api.paths import After, DatasetPath, Limit
from app.api.turns import IN_TURN
from app.domain.limits import DEFAULT_PAGE
from app.domain.states import DatasetKind, DatasetState
from app.edge.registrations import registration_of
from app.live.ports import PortsDep
from app.schemas.common import RenameOrClearIn
from app.schemas.datasets import DatasetIn, DatasetOut, DatasetPage, DatasetReferenceIn, DatasetSamplesOut
from app.schemas.deletions import DeletionOut
from app.services import datasets, deletions, quotas

router = APIRouter(prefix="/v1/datasets", tags=["datasets"])


@router.post(
    "",
    summary="Register pairs or a labelled set",
    status_code=202,
    response_model=DatasetOut,
    responses=refusals(404, 409, 413, 422),
)
def create_dataset(body: DatasetIn, caller: Uploader, ports: PortsDep, once: OnceDep) -> Response:
    """Every sample is then read once; poll until `state` is ready or rejected."""
    with ports.database.unit_of_work(caller.project_id) as unit:
        if (answer := once.glance(unit, caller)) is not None:
            return answer
    if body.uri is not None:
        datasets.check_reference(ports.store, body.uri, ports.settings.datasets, project_id=caller.project_id)
    wanted = registration_of(body)
    with ports.database.unit_of_work(caller.project_id) as unit:
        if (answer := once.seen(unit, caller)) is not None:
            return answer
        quotas.check_place(unit, caller.project_id, ports.settings.quotas)
        row, job = datasets.create(unit, caller, wanted)
        headers = {"Location": f"/v1/datasets/{row.id}", "Retry-After": str(POLL_AFTER_S)}
        answer = once.keep(unit, DatasetOut.of(row), status=202, headers=headers)
    ports.hint(job)
    return answer


@router.post(
    "/check", summary="Whether a reference could be registered", status_code=204, responses=refusals(413, 422)
)
def check_dataset(body: DatasetReferenceIn, caller: Uploader, ports: PortsDep) -> Response:
    """The service may read it, and shards are there. Registers nothing, and reads no sample."""
    datasets.check_reference(ports.store, body.uri, ports.settings.datasets, project_id=caller.project_id)
    return Response(status_code=204)


@router.get(
    "",
    summary="Datasets, newest first",
    response_model=DatasetPage,
    responses=refusals(304, 422),
    dependencies=[IN_TURN],
)
def list_datasets(
    *,
    request: Request,
    caller: Reader,
    ports: PortsDep,
    after: After = None,
    limit: Limit = DEFAULT_PAGE,
    state: DatasetState | None = None,
    kind: DatasetKind | None = None,
) -> Response:
    """Deleted ones are not listed. Class names, templates and examples of skipped samples are only in the
    single dataset (`GET /v1/datasets/{id}`); `num_classes` says how many names there are."""
    with ports.database.unit_of_work(caller.project_id) as unit:
        listed, has_more = unit.datasets.page(caller.project_id, after, limit, state=state, kind=kind)
    etag = etag_of([has_more, *((one.row.id, one.row.updated_at) for one in listed)])
    return cached_answer(
        request, etag, lambda: page_of(DatasetPage, map(DatasetOut.of_listed, listed), has_more)
    )


@router.get(
    "/{dataset_id}",
    summary="What a dataset holds, or why it was rejected",
    response_model=DatasetOut,
    responses=refusals(304, 404),
)
def get_dataset(dataset_id: DatasetPath, request: Request, caller: Reader, ports: PortsDep) -> Response:
    """validating → ready | rejected, with counts."""
    with ports.database.unit_of_work(caller.project_id) as unit:
        row = unit.datasets.get(caller.project_id, dataset_id)
    etag = etag_of([row.id, row.updated_at, row.state])
    return cached_answer(request, etag, lambda: DatasetOut.of(row))


@router.get(
    "/{dataset_id}/samples",
    summary="A few samples to look at",
    response_model=DatasetSamplesOut,
    responses=refusals(304, 404, 409),
)
def get_dataset_samples(
    dataset_id: DatasetPath, request: Request, caller: Reader, ports: PortsDep
) -> Response:
    """Twelve, drawn from the whole set, with small images; 404 if the dataset has none."""
    with ports.database.unit_of_work(caller.project_id) as unit:
        row = datasets.samples_of(unit, unit.datasets.get(caller.project_id, dataset_id))
    return stored_answer(request, ports.store, row)


@router.patch(
    "/{dataset_id}",
    summary="Give a dataset another name",
    response_model=DatasetOut,
    responses=refusals(404, 413, 422),
)
def rename_dataset(
    dataset_id: DatasetPath, body: RenameOrClearIn, caller: Uploader, ports: PortsDep
) -> Response:
    """Names are labels for people: requests use ids, and two datasets may have the same name."""
    with ports.database.unit_of_work(caller.project_id) as unit:
        renamed = DatasetOut.of(datasets.rename(unit, caller, dataset_id, body.name))
    return json_answer(renamed)


@router.delete(
    "/{dataset_id}",
    summary="Delete a dataset",
    status_code=202,
    response_model=DeletionOut,
    responses=refusals(404, 409),
)
def delete_dataset(dataset_id: DatasetPath, caller: Uploader, ports: PortsDep) -> Response:
    """Uploaded shards are deleted with the last dataset that uses them; shards behind a reference are not
    deleted.

    Refused while unfinished jobs read it.
    """
    with ports.database.unit_of_work(caller.project_id) as unit:
        row = deletions.delete_dataset(unit, caller, dataset_id)
    return deletion_answer(row)
