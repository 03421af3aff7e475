"""The page that orders a vetting: checkpoint, dataset, what it compares with; its dry run, and the order.

Scores, triggers and neighbours are left to the API and the command.
"""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import TypeAdapter

from app.db.models.job import Job
from app.db.unit_of_work import UnitOfWork
from app.domain.states import DatasetKind, JobKind
from app.live.ports import Ports
from app.schemas.orders import VetJobIn
from app.web.jobs import search_page
from app.web.jobs.options import parse_number
from app.web.jobs.order_page import Choices, OrderDraft, OrderPage, accepted_checkpoints, ready_datasets
from app.web.kit.visitor import Form

_ORDER: TypeAdapter[VetJobIn] = TypeAdapter(VetJobIn)

router = APIRouter()


def _fields_of(job: Job) -> list[tuple[str, str]]:
    """The order of an earlier vetting as a form; of another job, what it shares with one."""
    vet = job.spec.get("vet") or {}
    ids = dict(search_page.ids_of(job, "vet"))
    return [
        *(ids | {"vet/dataset_id": ids["vet/dataset_id"] or job.labelled_dataset_id or ""}).items(),
        ("vet/share", f"{vet['share']:g}" if "share" in vet else ""),
        ("seed", str(job.seed) if job.kind is JobKind.VET else ""),
    ]


def _read(form: Form, ports: Ports, project_id: str) -> OrderDraft:
    del project_id
    share = form.get("vet/share")
    options = {"share": parse_number(share)} if share else {}
    return search_page.read(form, ports, "vet", _ORDER, options=options)


def _choices(unit: UnitOfWork, project_id: str, form: Form) -> Choices:
    del form
    return Choices(
        checkpoints=accepted_checkpoints(unit, project_id),
        labelled=ready_datasets(unit, project_id, DatasetKind.LABELLED),
        pairs=ready_datasets(unit, project_id, DatasetKind.PAIRS),
    )


PAGE = OrderPage(path="/ui/vettings/new", template="new_vet.html", read=_read, choices=_choices)
search_page.take_orders(router, PAGE, "vet", fields_of=_fields_of)
