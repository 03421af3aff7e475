"""The page that orders a scan: checkpoint, labelled images, null, anchor; its dry run, and the order.

Options of detectors are left to the API and the command: a null fits its own options only.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import TypeAdapter

from app.db.models.job import Job
from app.db.unit_of_work import UnitOfWork
from app.domain.states import DatasetKind, JobKind
from app.live.ports import Ports
from app.schemas.orders import ScanJobIn
from app.services.nulls import AUTO, NONE
from app.web.jobs import order_page, search_page
from app.web.kit.visitor import Form
from cleanclip.spec.scan_options import MIN_IMAGES, ScanOptions

_ORDER: TypeAdapter[ScanJobIn] = TypeAdapter(ScanJobIn)
_FURTHER = "scan/further_classes"

router = APIRouter()


def _fields_of(job: Job) -> list[tuple[str, str]]:
    """The order of an earlier scan as a form; of another job, what it shares with a scan."""
    scan = job.spec.get("scan") or {}
    null = job.spec.get("null")
    is_scan = job.kind is JobKind.SCAN
    return [
        *search_page.ids_of(job, "scan"),
        ("scan/null", null["name"] if null else NONE if is_scan else AUTO),
        (_FURTHER, "\n".join(scan.get("further_classes") or ())),
        ("seed", str(job.seed) if is_scan else ""),
    ]


def _read(form: Form, ports: Ports, project_id: str) -> order_page.OrderDraft:
    """An anchor adds the detector that it is for."""
    del project_id
    options: dict[str, Any] = {"null": form.get("scan/null") or AUTO}
    has_anchor = bool(order_page.named(form, "scan/anchor_checkpoint_id"))
    options["detectors"] = ScanOptions.usual_detectors(has_anchor=has_anchor)
    if names := order_page.lines(form.get(_FURTHER)):
        options["further_classes"] = names
    return search_page.read(form, ports, "scan", _ORDER, options=options)


def _choices(unit: UnitOfWork, project_id: str, form: Form) -> order_page.Choices:
    del form
    return order_page.Choices(
        checkpoints=order_page.accepted_checkpoints(unit, project_id),
        labelled=order_page.ready_datasets(unit, project_id, DatasetKind.LABELLED),
        nulls=unit.nulls.page(None, order_page.MOST_CHOICES)[0],
    )


PAGE = order_page.OrderPage(
    path="/ui/scans/new",
    template="new_scan.html",
    read=_read,
    choices=_choices,
    shown={"least_images": 2 * MIN_IMAGES},
)
search_page.take_orders(router, PAGE, "scan", fields_of=_fields_of, more=[("scan/null", AUTO)])
