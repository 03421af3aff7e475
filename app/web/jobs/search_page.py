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
from cleanclip.kinds.catalogue import KINDS

Fields = Sequence[tuple[str, str]]
Kind = Literal["scan", "vet"]


def read(
    form: Form, ports: Ports, kind: Kind, adapter: TypeAdapter[Any], *, options: Mapping[str, Any]
) -> OrderDraft:
    """Everything that is wrong with it is in `errors`; then there is no order."""
    body: dict[str, Any] = {"kind": kind, kind: dict(options)} | name_and_seed(form)
    for one in KINDS[kind].inputs:
        *part, name = one.place
        (body[part[0]] if part else body).update(named(form, "/".join(one.place), name))
    made = OrderDraft(form=form, body=body)
    made.take(adapter, default_max_attempts=ports.settings.jobs.max_attempts)
    return made


def ids_of(job: Job, kind: str) -> Fields:
    """What an earlier job read, as fields of the form of that kind."""
    return [("/".join(one.place), getattr(job, one.column) or "") for one in KINDS[kind].inputs]


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
