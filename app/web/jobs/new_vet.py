"""The page that orders a vetting: checkpoint, dataset, what it compares with; its dry run, and the order.

Scores, triggers and neighbours are left to the API and the command.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import TypeAdapter
from starlette.responses import Response

from app.db.models.job import Job
from app.db.unit_of_work import UnitOfWork
from app.domain.states import DatasetKind, JobKind
from app.live.ports import Ports, PortsDep
from app.schemas.orders import VetJobIn
from app.services import jobs
from app.web.jobs.options import parse_number
from app.web.jobs.order_page import (
    Choices,
    Name,
    OrderDraft,
    OrderPage,
    accepted_checkpoints,
    name_and_seed,
    named,
    ready_datasets,
)
from app.web.kit.addresses import EMPTY_IS_NONE, CheckpointId, DatasetId, JobId
from app.web.kit.visitor import Form, Runner

_ORDER: TypeAdapter[VetJobIn] = TypeAdapter(VetJobIn)
_IDS = ("dataset_id", "trusted_dataset_id", "anchor_checkpoint_id")

router = APIRouter()


@router.get("/vettings/new")
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
    """Empty, or filled with what the address names."""

    def filled(unit: UnitOfWork) -> Form:
        if again:
            return Form(_fields_of(jobs.get(unit, visitor.caller.project_id, again)))
        return Form([("checkpoint_id", checkpoint or ""), ("vet/dataset_id", dataset or "")])

    named = {"checkpoint": checkpoint, "dataset": dataset, "again": again}
    return PAGE.show(request, visitor, ports, filled, form=form, **named)


def _fields_of(job: Job) -> list[tuple[str, str]]:
    """The order of an earlier vetting as a form; of another job, what it shares with one."""
    vet = job.spec.get("vet") or {}
    return [
        ("checkpoint_id", job.checkpoint_id or ""),
        ("vet/dataset_id", job.dataset_id or job.labelled_dataset_id or ""),
        ("vet/trusted_dataset_id", job.trusted_dataset_id or ""),
        ("vet/anchor_checkpoint_id", job.anchor_checkpoint_id or ""),
        ("vet/share", f"{vet['share']:g}" if "share" in vet else ""),
        ("seed", str(job.seed) if job.kind is JobKind.VET else ""),
    ]


def _read(form: Form, ports: Ports, project_id: str) -> OrderDraft:
    """Everything that is wrong with it is in `errors`; then there is no order."""
    del project_id
    vet: dict[str, Any] = {}
    for name in _IDS:
        vet |= named(form, f"vet/{name}", name)
    if share := form.get("vet/share"):
        vet["share"] = parse_number(share)
    body: dict[str, Any] = {"kind": "vet", **named(form, "checkpoint_id"), "vet": vet}
    body |= name_and_seed(form)
    draft = OrderDraft(form=form, body=body)
    draft.take(_ORDER, default_max_attempts=ports.settings.jobs.max_attempts)
    return draft


def _choices(unit: UnitOfWork, project_id: str, form: Form) -> Choices:
    del form
    return Choices(
        checkpoints=accepted_checkpoints(unit, project_id),
        labelled=ready_datasets(unit, project_id, DatasetKind.LABELLED),
        pairs=ready_datasets(unit, project_id, DatasetKind.PAIRS),
    )


PAGE = OrderPage(path="/ui/vettings/new", template="new_vet.html", read=_read, choices=_choices)
PAGE.take_orders(router)
