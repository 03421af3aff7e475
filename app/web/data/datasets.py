"""The list of datasets, and the form that registers one."""

from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import ValidationError
from starlette.responses import Response

from app.db.models.job import Job
from app.db.unit_of_work import UnitOfWork
from app.domain.errors import DomainError
from app.domain.states import DatasetKind, DatasetState
from app.edge.error_codes import status_of
from app.live.ports import Ports, PortsDep
from app.schemas.datasets import DatasetOut
from app.services import datasets, quotas
from app.services.datasets import Registration
from app.web.data.dataset_form import DatasetForm, places_of, schema_of_field
from app.web.kit.addresses import EMPTY_IS_NONE, Cursor, DeletionId, UploadId, link
from app.web.kit.once import once
from app.web.kit.rendering import page, see_other
from app.web.kit.visitor import FormDep, Reader, Uploader, Visitor
from app.web.project.receipts import deletion_reported

PER_PAGE = 25
HERE = "/ui/datasets"

router = APIRouter()


@router.get("/datasets")
def show_datasets(
    *,
    request: Request,
    visitor: Reader,
    ports: PortsDep,
    after: Cursor = None,
    state: Annotated[DatasetState | None, EMPTY_IS_NONE] = None,
    kind: Annotated[DatasetKind | None, EMPTY_IS_NONE] = None,
    upload_id: Annotated[UploadId | None, EMPTY_IS_NONE] = None,
    deleted: Annotated[DeletionId | None, EMPTY_IS_NONE] = None,
) -> Response:
    """Newest first. With `upload_id` the form is open and filled in; `deleted` is a deletion asked for."""
    form = DatasetForm.empty(upload_id=upload_id or "")
    is_open = bool(upload_id)
    return _page(
        request, visitor, ports, form, is_open=is_open, after=after, state=state, kind=kind, deleted=deleted
    )


@router.post("/datasets")
def register_dataset(request: Request, visitor: Uploader, form: FormDep, ports: PortsDep) -> Response:
    """Then its own page, pressed once or twice. What is wrong is said in the form."""
    sent = DatasetForm.sent(form)
    try:
        dataset_id = _register(ports, visitor, sent, sent.registration())
    except ValidationError as error:
        return _page(request, visitor, ports, sent.with_faults(error), status=422, is_open=True)
    except DomainError as error:
        wrong = sent.refused_with(error)
        return _page(request, visitor, ports, wrong, status=status_of(error), is_open=True)
    return see_other(f"{HERE}/{dataset_id}")


def _register(ports: Ports, visitor: Visitor, sent: DatasetForm, wanted: Registration) -> str:
    caller = visitor.caller
    if wanted.uri is not None:
        limits = ports.settings.datasets
        datasets.check_reference(ports.store, wanted.uri, limits, project_id=caller.project_id)

    def work(unit: UnitOfWork) -> tuple[str, Job]:
        quotas.check_place(unit, caller.project_id, ports.settings.quotas)
        row, job = datasets.create(unit, caller, wanted)
        return row.id, job

    return once(ports, caller, path=HERE, form=sent.form_id, content=sent.content, work=work)


def _page(
    request: Request,
    visitor: Visitor,
    ports: Ports,
    form: DatasetForm,
    *,
    status: int = 200,
    is_open: bool,
    after: str | None = None,
    state: DatasetState | None = None,
    kind: DatasetKind | None = None,
    deleted: str | None = None,
) -> Response:
    project_id = visitor.caller.project_id
    with ports.database.unit_of_work(project_id) as unit:
        found, has_more = unit.datasets.page(project_id, after, PER_PAGE, state=state, kind=kind)
        deletion = deletion_reported(unit, project_id, deleted)
    own, shared = places_of(project_id, ports.settings.datasets.allowed_prefixes)
    return page(
        request,
        "datasets.html",
        status,
        datasets=[DatasetOut.of_listed(one) for one in found],
        older=link(HERE, {"state": state or "", "kind": kind or ""}, after=found[-1].row.id)
        if has_more
        else None,
        is_filtered=bool(state or kind or after),
        wanted_state=state,
        wanted_kind=kind,
        states=list(DatasetState),
        kinds=list(DatasetKind),
        deletion=deletion,
        form=form,
        is_open=is_open,
        bounds=schema_of_field,
        own_places=own,
        shared_places=shared,
    )
