"""The page that orders a scan: checkpoint, labelled images, null; its dry run, and the order.

Options of detectors are left to the API and the command: a null fits its own options only.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from pydantic import TypeAdapter, ValidationError
from starlette.responses import Response

from app.db.models.job import Job
from app.db.models.null_set import NullSet
from app.db.unit_of_work import UnitOfWork
from app.domain.errors import Conflict, DomainError, InvalidInput, NotFound, QuotaExceeded
from app.domain.states import CheckpointState, DatasetKind, DatasetState, JobKind
from app.edge.error_codes import status_of
from app.edge.invalid_values import error_item
from app.edge.order_bodies import order_of
from app.live.ports import Ports, PortsDep
from app.schemas.orders import ScanJobIn
from app.services import dry_run, jobs, quotas
from app.services.dry_run import DryRun
from app.services.nulls import AUTO, NONE
from app.services.orders import Order
from app.web.jobs.new_job import MOST_CHOICES, TAKES_A_PLACE, Choices, Name
from app.web.jobs.options import parse_number
from app.web.jobs.order_form import mistake_sentence
from app.web.kit.addresses import EMPTY_IS_NONE, CheckpointId, DatasetId, JobId
from app.web.kit.once import FIELD, is_form, new_form, once
from app.web.kit.rendering import page, see_other
from app.web.kit.visitor import Form, FormDep, Runner, Visitor

PATH = "/ui/scans/new"
_ORDER: TypeAdapter[ScanJobIn] = TypeAdapter(ScanJobIn)

router = APIRouter()


@dataclass(kw_only=True)
class Draft:
    """What a form says: `order` where that is one, `errors` by field."""

    form: Form
    body: dict[str, Any] = field(default_factory=dict)
    order: Order | None = None
    errors: dict[str, str] = field(default_factory=dict)

    def refuse(self, error: DomainError) -> None:
        """A use case's refusal, beside its field."""
        self.errors.setdefault(_field_of(error.pointer or ""), f"{error.message} {error.remedy}")


def _field_of(pointer: str) -> str:
    path = pointer.strip("/")
    return "scan/further_classes" if path.startswith("scan/further_classes") else path


@router.get("/scans/new")
def show_form(
    *,
    request: Request,
    visitor: Runner,
    ports: PortsDep,
    checkpoint: Annotated[CheckpointId | None, EMPTY_IS_NONE] = None,
    dataset: Annotated[DatasetId | None, EMPTY_IS_NONE] = None,
    again: Annotated[JobId | None, EMPTY_IS_NONE] = None,
    form: Name = None,
) -> Response:
    """Empty, or filled with what the address names. The form's id becomes part of the address: see `once`."""
    if not is_form(form or ""):
        named = {"checkpoint": checkpoint, "dataset": dataset, "again": again}
        query = {name: value for name, value in named.items() if value} | {FIELD: new_form()}
        return see_other(f"{PATH}?{urlencode(query)}")
    fields = [("checkpoint_id", checkpoint or ""), ("scan/dataset_id", dataset or ""), ("scan/null", AUTO)]
    project_id = visitor.caller.project_id
    with ports.database.unit_of_work(project_id) as unit:
        if again:
            fields = _fields_of(jobs.get(unit, project_id, again))
        return _page(request, Draft(form=Form(fields)), _choices(unit, project_id), form_id=form or "")


def _fields_of(job: Job) -> list[tuple[str, str]]:
    """The order of an earlier scan as a form; of another job, what it shares with a scan."""
    scan = job.spec.get("scan") or {}
    null = job.spec.get("null")
    is_scan = job.kind is JobKind.SCAN
    return [
        ("checkpoint_id", job.checkpoint_id or ""),
        ("scan/dataset_id", job.labelled_dataset_id or ""),
        ("scan/null", null["name"] if null else NONE if is_scan else AUTO),
        ("scan/further_classes", "\n".join(scan.get("further_classes") or ())),
        ("seed", str(job.seed) if is_scan else ""),
    ]


@router.get("/scans/new/check")
def show_form_again(visitor: Runner) -> Response:
    """Who reloads a dry run by its address begins again."""
    del visitor
    return see_other(PATH)


@router.post("/scans/new/check", dependencies=[TAKES_A_PLACE])
def check(request: Request, visitor: Runner, form: FormDep, ports: PortsDep) -> Response:
    """Says what the scan would do, and orders nothing."""
    draft = _read(form, ports)
    ahead = None
    with ports.database.unit_of_work(visitor.caller.project_id) as unit:
        if draft.order is not None:
            ahead = dry_run.look_ahead(unit, visitor.caller, draft.order, ports.settings.quotas)
            for refusal in ahead.refusals:
                draft.refuse(refusal)
        choices = _choices(unit, visitor.caller.project_id)
        status = 422 if ahead is None else 200
        return _page(request, draft, choices, form_id=form.get(FIELD), status=status, ahead=ahead)


@router.post("/scans/new")
def order_scan(request: Request, visitor: Runner, form: FormDep, ports: PortsDep) -> Response:
    """Orders it once, however often the form is sent. What is refused is said in the form."""
    draft = _read(form, ports)
    status = 422
    if draft.order is not None:
        try:
            return see_other(f"/ui/jobs/{_ordered(ports, visitor, draft, draft.order)}")
        except (InvalidInput, NotFound, Conflict, QuotaExceeded) as error:
            draft.refuse(error)
            status = status_of(error)
    with ports.database.unit_of_work(visitor.caller.project_id) as unit:
        choices = _choices(unit, visitor.caller.project_id)
        return _page(request, draft, choices, form_id=form.get(FIELD), status=status)


def _ordered(ports: Ports, visitor: Visitor, draft: Draft, order: Order) -> str:
    caller = visitor.caller

    def work(unit: UnitOfWork) -> tuple[str, Job]:
        quotas.check_new_job(unit, caller.project_id, ports.settings.quotas)
        job = jobs.create(unit, caller, order)
        return job.id, job

    content = json.dumps(draft.body, sort_keys=True)
    return once(ports, caller, path=PATH, form=draft.form.get(FIELD), content=content, work=work)


def _read(form: Form, ports: Ports) -> Draft:
    """Everything that is wrong with it is in `errors`; then there is no order."""
    names = [line.strip() for line in form.get("scan/further_classes").splitlines() if line.strip()]
    scan = {"dataset_id": form.get("scan/dataset_id"), "null": form.get("scan/null") or AUTO}
    body: dict[str, Any] = {
        "kind": "scan",
        "checkpoint_id": form.get("checkpoint_id"),
        "scan": scan | ({"further_classes": names} if names else {}),
    }
    if name := form.get("name"):
        body["name"] = name
    if seed := form.get("seed"):
        body["seed"] = parse_number(seed)
    draft = Draft(form=form, body=body)
    try:
        wanted = _ORDER.validate_python(body)
    except ValidationError as error:
        for mistake in error.errors(include_input=False, include_url=False):
            item = error_item({**mistake, "loc": ("body", *mistake["loc"])}, body)
            place = _field_of(item.pointer or "")
            is_choice = place in ("checkpoint_id", "scan/dataset_id")
            said = "Choose one." if is_choice else mistake_sentence(mistake["type"], place, item.detail)
            draft.errors.setdefault(place, said)
        return draft
    draft.order = order_of(wanted, default_max_attempts=ports.settings.jobs.max_attempts)
    return draft


@dataclass(frozen=True, kw_only=True)
class _ScanChoices(Choices):
    nulls: Sequence[NullSet]


def _choices(unit: UnitOfWork, project_id: str) -> _ScanChoices:
    ready, labelled = DatasetState.READY, DatasetKind.LABELLED
    return _ScanChoices(
        checkpoints=unit.checkpoints.page(project_id, None, MOST_CHOICES, state=CheckpointState.ACCEPTED)[0],
        pairs=(),
        labelled=unit.datasets.page(project_id, None, MOST_CHOICES, state=ready, kind=labelled)[0],
        policies=(),
        class_names=(),
        nulls=unit.nulls.page(None, MOST_CHOICES)[0],
    )


def _page(
    request: Request,
    draft: Draft,
    choices: _ScanChoices,
    *,
    form_id: str,
    status: int = 200,
    ahead: DryRun | None = None,
) -> Response:
    return page(
        request,
        "new_scan.html",
        status,
        form=draft.form,
        errors=draft.errors,
        choices=choices,
        form_id=form_id,
        ahead=ahead,
        recipe_note="",
    )
