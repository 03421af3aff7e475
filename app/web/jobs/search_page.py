"""What the pages that order a scan or a vetting share: the form's route, and how the form is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import TypeAdapter
from starlette.responses import Response

from app.db.models.job import Job
from app.db.unit_of_work import UnitOfWork
from app.live.ports import Ports, PortsDep
from app.services import jobs
from app.web.jobs.order_page import Name, OrderDraft, OrderPage, name_and_seed, named
from app.web.kit.addresses import EMPTY_IS_NONE, CheckpointId, DatasetId, JobId
from app.web.kit.visitor import Form, Runner

Fields = Sequence[tuple[str, str]]
Kind = Literal["scan", "vet"]


def read(
    form: Form,
    ports: Ports,
    kind: Kind,
    adapter: TypeAdapter[Any],
    *,
    ids: Sequence[str],
    options: Mapping[str, Any],
) -> OrderDraft:
    """Everything that is wrong with it is in `errors`; then there is no order."""
    part = dict(options)
    for name in ids:
        part |= named(form, f"{kind}/{name}", name)
    body = {"kind": kind, **named(form, "checkpoint_id"), kind: part} | name_and_seed(form)
    made = OrderDraft(form=form, body=body)
    made.take(adapter, default_max_attempts=ports.settings.jobs.max_attempts)
    return made


def take_orders(
    router: APIRouter, page: OrderPage, kind: Kind, *, fields_of: Callable[[Job], Fields], more: Fields = ()
) -> None:
    """Adds the page's routes. `fields_of` makes a form of an earlier order; `more` fields of an empty one are
    filled in."""

    @router.get(page.path.removeprefix("/ui"))
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
                return Form([*fields_of(jobs.get(unit, visitor.caller.project_id, again))])
            given = [("checkpoint_id", checkpoint or ""), (f"{kind}/dataset_id", dataset or "")]
            return Form([*given, *more])

        named = {"checkpoint": checkpoint, "dataset": dataset, "again": again}
        return page.show(request, visitor, ports, filled, form=form, **named)

    page.take_orders(router)
