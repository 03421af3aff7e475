"""The page that orders a scan: checkpoint, labelled images, null; its dry run, and the order.

Options of detectors are left to the API and the command: a null fits its own options only.
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
from app.schemas.orders import ScanJobIn
from app.services import jobs
from app.services.nulls import AUTO, NONE
from app.web.jobs.order_page import (
    MOST_CHOICES,
    Choices,
    Name,
    OrderDraft,
    OrderPage,
    accepted_checkpoints,
    lines,
    name_and_seed,
    named,
    ready_datasets,
)
from app.web.kit.addresses import EMPTY_IS_NONE, CheckpointId, DatasetId, JobId
from app.web.kit.visitor import Form, Runner
from cleanclip.spec.scan_options import MIN_IMAGES

_ORDER: TypeAdapter[ScanJobIn] = TypeAdapter(ScanJobIn)
_FURTHER = "scan/further_classes"

router = APIRouter()


class _Draft(OrderDraft):
    def field_of(self, pointer: str) -> str:
        path = super().field_of(pointer)
        return _FURTHER if path.startswith(_FURTHER) else path


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
    """Empty, or filled with what the address names."""

    def filled(unit: UnitOfWork) -> Form:
        if again:
            return Form(_fields_of(jobs.get(unit, visitor.caller.project_id, again)))
        return Form(
            [("checkpoint_id", checkpoint or ""), ("scan/dataset_id", dataset or ""), ("scan/null", AUTO)]
        )

    named = {"checkpoint": checkpoint, "dataset": dataset, "again": again}
    return PAGE.show(request, visitor, ports, filled, form=form, **named)


def _fields_of(job: Job) -> list[tuple[str, str]]:
    """The order of an earlier scan as a form; of another job, what it shares with a scan."""
    scan = job.spec.get("scan") or {}
    null = job.spec.get("null")
    is_scan = job.kind is JobKind.SCAN
    return [
        ("checkpoint_id", job.checkpoint_id or ""),
        ("scan/dataset_id", job.labelled_dataset_id or ""),
        ("scan/null", null["name"] if null else NONE if is_scan else AUTO),
        (_FURTHER, "\n".join(scan.get("further_classes") or ())),
        ("seed", str(job.seed) if is_scan else ""),
    ]


def _read(form: Form, ports: Ports, project_id: str) -> OrderDraft:
    """Everything that is wrong with it is in `errors`; then there is no order."""
    del project_id
    scan: dict[str, Any] = named(form, "scan/dataset_id", "dataset_id")
    scan["null"] = form.get("scan/null") or AUTO
    if names := lines(form.get(_FURTHER)):
        scan["further_classes"] = names
    body: dict[str, Any] = {"kind": "scan", **named(form, "checkpoint_id"), "scan": scan}
    body |= name_and_seed(form)
    draft = _Draft(form=form, body=body)
    draft.take(_ORDER, default_max_attempts=ports.settings.jobs.max_attempts)
    return draft


def _choices(unit: UnitOfWork, project_id: str, form: Form) -> Choices:
    del form
    return Choices(
        checkpoints=accepted_checkpoints(unit, project_id),
        labelled=ready_datasets(unit, project_id, DatasetKind.LABELLED),
        nulls=unit.nulls.page(None, MOST_CHOICES)[0],
    )


PAGE = OrderPage(
    path="/ui/scans/new",
    template="new_scan.html",
    read=_read,
    choices=_choices,
    shown={"least_images": 2 * MIN_IMAGES},
)
PAGE.take_orders(router)
