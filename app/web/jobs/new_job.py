"""The page that orders a job: its form, its dry run, and the order."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from app.db.models.checkpoint import Checkpoint
from app.db.models.job import Job
from app.db.models.policy import Policy
from app.db.repositories.datasets import ListedDataset
from app.db.unit_of_work import UnitOfWork
from app.domain.errors import Conflict, InvalidInput, NotFound, QuotaExceeded
from app.domain.ids import is_id
from app.domain.limits import MAX_POLICIES
from app.domain.states import CheckpointState, DatasetKind, DatasetState
from app.edge.error_codes import status_of
from app.live.ports import Ports, PortsDep
from app.services import dry_run, jobs, quotas
from app.services.dry_run import DryRun
from app.services.orders import Order, class_names
from app.web.jobs import option_texts, options, order_form, prefill
from app.web.jobs.order_form import Draft
from app.web.kit.addresses import EMPTY_IS_NONE, CheckpointId, DatasetId, JobId
from app.web.kit.once import FIELD, is_form, new_form, once
from app.web.kit.rendering import page, see_other, time_text
from app.web.kit.visitor import Form, FormDep, Reader, Runner, Visitor

PATH = "/ui/jobs/new"
MOST_CHOICES = 100
"""Of each list; what is older is named by its id."""
MOST_CLASSES = 2000
"""Suggested beside the target; any other may be written."""

router = APIRouter()


async def _place(visitor: Runner, ports: PortsDep) -> AsyncIterator[None]:
    async with ports.computing.one_for(visitor.caller.project_id):
        yield


TAKES_A_PLACE = Depends(_place, scope="function")

Name = Annotated[str | None, Query(max_length=64)]


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What the form's lists offer."""

    checkpoints: Sequence[Checkpoint]
    pairs: Sequence[ListedDataset]
    labelled: Sequence[ListedDataset]
    policies: Sequence[Policy]
    class_names: Sequence[str]

    @property
    def named_checkpoints(self) -> list[tuple[str, str]]:
        """Each by its id, with what it is called in the list."""
        return [
            (
                row.id,
                f"{row.filename} · {(row.inspection or {}).get('architecture_name', '')} · "
                f"{time_text(row.created_at)}",
            )
            for row in self.checkpoints
        ]

    @property
    def named_pairs(self) -> list[tuple[str, str]]:
        return [(dataset.row.id, _dataset_text(dataset)) for dataset in self.pairs]

    @property
    def named_labelled(self) -> list[tuple[str, str]]:
        return [(dataset.row.id, _dataset_text(dataset)) for dataset in self.labelled]


def _dataset_text(dataset: ListedDataset) -> str:
    row, summary = dataset.row, dataset.row.summary or {}
    classes = f" of {dataset.num_classes} classes" if dataset.num_classes else ""
    count = f"{summary.get('num_samples', 0):,} {row.kind.value}{classes}"
    return f"{row.name or row.uri or row.upload_id} · {count} · {time_text(row.created_at)}"


@router.get("/jobs/new")
def show_form(
    *,
    request: Request,
    visitor: Runner,
    ports: PortsDep,
    checkpoint: Annotated[CheckpointId | None, EMPTY_IS_NONE] = None,
    dataset: Annotated[DatasetId | None, EMPTY_IS_NONE] = None,
    kind: Name = None,
    again: Annotated[JobId | None, EMPTY_IS_NONE] = None,
    form: Name = None,
) -> Response:
    """Empty, or filled with what the address names. The form's id becomes part of the address: see `once`."""
    if not is_form(form or ""):
        named = {"checkpoint": checkpoint, "dataset": dataset, "kind": kind, "again": again}
        query = {name: value for name, value in named.items() if value} | {FIELD: new_form()}
        return see_other(f"{PATH}?{urlencode(query)}")
    project_id = visitor.caller.project_id
    with ports.database.unit_of_work(project_id) as unit:
        filled = _filled(unit, project_id, checkpoint=checkpoint, dataset=dataset, kind=kind, again=again)
        choices = _choices(unit, project_id, filled)
    return _page(request, Draft(form=filled), choices, form_id=form or "")


def _filled(
    unit: UnitOfWork,
    project_id: str,
    *,
    checkpoint: str | None,
    dataset: str | None,
    kind: str | None,
    again: str | None,
) -> Form:
    if again:
        return prefill.form_of_job(jobs.get(unit, project_id, again))
    is_labelled = False
    if dataset:
        is_labelled = unit.datasets.get(project_id, dataset).kind is DatasetKind.LABELLED
    return prefill.empty_form(kind=kind, checkpoint=checkpoint, dataset=dataset, is_labelled=is_labelled)


@router.get("/jobs/new/check")
def show_form_again(visitor: Runner) -> Response:
    """Who reloads a dry run by its address begins again."""
    del visitor
    return see_other(PATH)


@router.post("/jobs/new/check", dependencies=[TAKES_A_PLACE])
def check(request: Request, visitor: Runner, form: FormDep, ports: PortsDep) -> Response:
    """Says what the order would do, and orders nothing."""
    draft = _read(form, ports, visitor.caller.project_id)
    ahead = None
    with ports.database.unit_of_work(visitor.caller.project_id) as unit:
        if draft.order is not None:
            ahead = dry_run.look_ahead(unit, visitor.caller, draft.order, ports.settings.quotas)
            for refusal in ahead.refusals:
                draft.refuse(refusal)
        choices = _choices(unit, visitor.caller.project_id, form)
    status = 422 if ahead is None else 200
    return _page(
        request, draft, choices, form_id=form.get(FIELD), status=status, ahead=ahead, is_dry_run=True
    )


@router.post("/jobs/new")
def order_job(request: Request, visitor: Runner, form: FormDep, ports: PortsDep) -> Response:
    """Orders it once, however often the form is sent. What is refused is said in the form."""
    draft = _read(form, ports, visitor.caller.project_id)
    status = 422
    if draft.order is not None:
        try:
            return see_other(f"/ui/jobs/{_ordered(ports, visitor, draft, draft.order)}")
        except (InvalidInput, NotFound, Conflict, QuotaExceeded) as error:
            draft.refuse(error)
            status = status_of(error)
    with ports.database.unit_of_work(visitor.caller.project_id) as unit:
        choices = _choices(unit, visitor.caller.project_id, form)
    return _page(request, draft, choices, form_id=form.get(FIELD), status=status)


def _ordered(ports: Ports, visitor: Visitor, draft: Draft, order: Order) -> str:
    caller = visitor.caller

    def work(unit: UnitOfWork) -> tuple[str, Job]:
        quotas.check_new_job(unit, caller.project_id, ports.settings.quotas)
        job = jobs.create(unit, caller, order)
        return job.id, job

    return once(ports, caller, path=PATH, form=draft.form.get(FIELD), content=draft.content, work=work)


@router.get("/jobs/new/classes")
def show_classes(
    request: Request,
    visitor: Reader,
    ports: PortsDep,
    dataset_id: Annotated[DatasetId | None, EMPTY_IS_NONE, Query(alias="audit/dataset_id")] = None,
) -> Response:
    """For the script: the classes of a labelled set that was chosen."""
    with ports.database.unit_of_work(visitor.caller.project_id) as unit:
        names = _class_names(unit, visitor.caller.project_id, dataset_id or "")
    return page(request, "new_job_classes.html", class_names=names)


def _read(form: Form, ports: Ports, project_id: str) -> Draft:
    checkpoint_id = form.get("checkpoint_id:typed") or form.get("checkpoint_id")
    inspection = None
    if is_id("ckpt", checkpoint_id):
        with ports.database.unit_of_work(project_id) as unit, suppress(NotFound):  # the order says so
            inspection = unit.checkpoints.get(project_id, checkpoint_id).inspection
    return order_form.read(form, default_max_attempts=ports.settings.jobs.max_attempts, inspection=inspection)


def _choices(unit: UnitOfWork, project_id: str, form: Form) -> Choices:
    def ready(kind: DatasetKind) -> Sequence[ListedDataset]:
        return unit.datasets.page(project_id, None, MOST_CHOICES, state=DatasetState.READY, kind=kind)[0]

    labelled_id = form.get("audit/dataset_id:typed") or form.get("audit/dataset_id")
    return Choices(
        checkpoints=unit.checkpoints.page(project_id, None, MOST_CHOICES, state=CheckpointState.ACCEPTED)[0],
        pairs=ready(DatasetKind.PAIRS),
        labelled=ready(DatasetKind.LABELLED),
        policies=unit.policies.page(project_id, None, MAX_POLICIES)[0],
        class_names=_class_names(unit, project_id, labelled_id),
    )


def _class_names(unit: UnitOfWork, project_id: str, dataset_id: str) -> Sequence[str]:
    if not is_id("ds", dataset_id):
        return ()
    try:
        return class_names(unit.datasets.get(project_id, dataset_id))[:MOST_CLASSES]
    except NotFound:
        return ()


def _page(
    request: Request,
    draft: Draft,
    choices: Choices,
    *,
    form_id: str,
    status: int = 200,
    ahead: DryRun | None = None,
    is_dry_run: bool = False,
) -> Response:
    return page(
        request,
        "new_job.html",
        status,
        form=draft.form,
        errors=draft.errors,
        choices=choices,
        class_names=choices.class_names,
        form_id=form_id,
        ahead=ahead,
        recipe_note=draft.recipe_note,
        is_dry_run=is_dry_run,
        options=options,
        texts=option_texts,
    )
