"""The page that orders an audit or a cleaning: its form, its dry run, and the order."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from app.db.unit_of_work import UnitOfWork
from app.domain.errors import NotFound
from app.domain.ids import is_id
from app.domain.limits import MAX_POLICIES
from app.domain.states import DatasetKind
from app.live.ports import Ports, PortsDep
from app.services import jobs
from app.services.orders import class_names
from app.web.jobs import option_texts, options, order_form, prefill
from app.web.jobs.order_form import Draft
from app.web.jobs.order_page import Choices, Name, OrderPage, accepted_checkpoints, ready_datasets
from app.web.kit.addresses import EMPTY_IS_NONE, CheckpointId, DatasetId, JobId
from app.web.kit.rendering import page
from app.web.kit.visitor import Form, Reader, Runner

MOST_CLASSES = 2000
"""Suggested beside the target; any other may be written."""

router = APIRouter()


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
    scan: Annotated[JobId | None, EMPTY_IS_NONE] = None,
    exclude: Annotated[JobId | None, EMPTY_IS_NONE] = None,
    form: Name = None,
) -> Response:
    """Empty, or filled with what the address names."""
    project_id = visitor.caller.project_id

    def filled(unit: UnitOfWork) -> Form:
        if again:
            return prefill.form_of_job(jobs.get(unit, project_id, again))
        if scan:
            return prefill.form_of_scan(jobs.get(unit, project_id, scan))
        if exclude:
            vetting = jobs.get(unit, project_id, exclude)
            return prefill.form_of_vetting(vetting, is_labelled=_is_labelled(unit, vetting.dataset_id))
        is_labelled = _is_labelled(unit, dataset)
        return prefill.empty_form(kind=kind, checkpoint=checkpoint, dataset=dataset, is_labelled=is_labelled)

    def _is_labelled(unit: UnitOfWork, dataset_id: str | None) -> bool:
        if dataset_id is None:
            return False
        return unit.datasets.get(project_id, dataset_id).kind is DatasetKind.LABELLED

    named = {"checkpoint": checkpoint, "dataset": dataset, "kind": kind, "again": again, "scan": scan}
    named["exclude"] = exclude
    return PAGE.show(request, visitor, ports, filled, form=form, **named)


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
    labelled_id = form.get("audit/dataset_id:typed") or form.get("audit/dataset_id")
    return Choices(
        checkpoints=accepted_checkpoints(unit, project_id),
        pairs=ready_datasets(unit, project_id, DatasetKind.PAIRS),
        labelled=ready_datasets(unit, project_id, DatasetKind.LABELLED),
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


PAGE = OrderPage(
    path="/ui/jobs/new",
    template="new_job.html",
    read=_read,
    choices=_choices,
    shown={"options": options, "texts": option_texts},
)
PAGE.take_orders(router)
