"""The pages that order a job of one kind, each made of the kind's value: a form of what it reads and of its
options that have a label, its dry run, and the order. The other options are left to the API and the command.
"""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import TypeAdapter
from starlette.responses import Response

from app.db.models.job import Job
from app.db.repositories.assets import ListedDataset
from app.db.unit_of_work import UnitOfWork
from app.domain.states import DatasetKind
from app.live.ports import Ports, PortsDep
from app.schemas.orders import JobIn
from app.services import jobs
from app.services.nulls import AUTO, NONE
from app.web.jobs import options, order_page
from app.web.jobs.order_page import Choices, OrderDraft, OrderPage
from app.web.kit.addresses import EMPTY_IS_NONE, CheckpointId, DatasetId, JobId
from app.web.kit.visitor import Form, Runner
from cleanclip.kinds.catalogue import PUBLIC
from cleanclip.kinds.kind import Kind

_ORDER: TypeAdapter[Any] = TypeAdapter(JobIn)

router = APIRouter()


class _Form:
    """Of one kind of job."""

    def __init__(self, kind: Kind) -> None:
        self.kind, self.part = kind, kind.option_part
        self.options = options.of_kind(kind.name)
        self.places = {"/".join(one.place): one for one in kind.inputs}
        self.null = f"{self.part}/null" if "has_null" in kind.spec_fields else None
        """The field that names the null it is judged by."""
        fields = (*self.options.options, *options.of_order().options)
        self.fields = frozenset([one.name for one in fields] + [*self.places, self.null or ""])

    def read(self, form: Form, ports: Ports, project_id: str) -> OrderDraft:
        """Everything that is wrong with it is in `errors`; then there is no order."""
        del project_id
        body: dict[str, Any] = {"kind": self.kind.name, **options.given(form, options.of_order().options)}
        part = options.given(form, self.options.options)
        for place, one in self.places.items():
            (body if len(one.place) == 1 else part).update(order_page.named(form, place, one.place[-1]))
        if self.null:
            part["null"] = form.get(self.null) or AUTO
        part |= self.kind.usual(part)
        made = OrderDraft(form=form, body=body | {self.part: part}, fields=self.fields)
        made.take(_ORDER, default_max_attempts=ports.settings.jobs.max_attempts)
        return made

    def choices(self, unit: UnitOfWork, project_id: str, form: Form) -> Choices:
        del form
        read = {role for one in self.kind.inputs for role in one.roles}

        def ready(kind: DatasetKind) -> Sequence[ListedDataset]:
            return order_page.ready_datasets(unit, project_id, kind) if kind in read else ()

        return Choices(
            checkpoints=order_page.accepted_checkpoints(unit, project_id),
            nulls=unit.nulls.page(None, order_page.MOST_CHOICES)[0] if self.null else (),
            labelled=ready(DatasetKind.LABELLED),
            pairs=ready(DatasetKind.PAIRS),
        )

    def empty(self, checkpoint: str | None, dataset: str | None) -> Iterator[tuple[str, str]]:
        """Fields, with what the address names."""
        for place, one in self.places.items():
            if one.fact is None:
                yield place, (checkpoint if one.folder else dataset) or ""
        if self.null:
            yield self.null, AUTO

    def again(self, job: Job) -> Iterator[tuple[str, str]]:
        """The order of an earlier job as fields; of a job of another kind, what it shares with this one."""
        for place, one in self.places.items():
            its_id = getattr(job, one.column)
            if its_id is None and one.fact is None and "labelled" in one.roles:
                its_id = job.labelled_dataset_id
            yield place, its_id or ""
        yield from options.written(self.options.options, job.spec.get(self.part) or {})
        if self.null:
            null = job.spec.get("null")
            yield self.null, null["name"] if null else NONE if "null" in job.spec else AUTO
        if job.kind == self.kind.name:
            yield "seed", str(job.seed)


def _take_orders(kind: Kind) -> None:
    """Adds the page's routes."""
    form_of = _Form(kind)
    page = OrderPage(
        path=f"/ui/{kind.page}/new",
        template="new_search.html",
        read=form_of.read,
        choices=form_of.choices,
        shown={"kind": kind, "group": form_of.options, "null_field": form_of.null, "options": options},
    )

    @router.get(page.path.removeprefix("/ui"))
    def show_form(
        *,
        request: Request,
        visitor: Runner,
        ports: PortsDep,
        checkpoint: Annotated[CheckpointId | None, EMPTY_IS_NONE] = None,
        dataset: Annotated[DatasetId | None, EMPTY_IS_NONE] = None,
        again: Annotated[JobId | None, EMPTY_IS_NONE] = None,
        form: order_page.Name = None,
    ) -> Response:
        """Empty, or filled with what the address names."""

        def filled(unit: UnitOfWork) -> Form:
            if again:
                return Form([*form_of.again(jobs.get(unit, visitor.caller.project_id, again))])
            return Form([*form_of.empty(checkpoint, dataset)])

        named = {"checkpoint": checkpoint, "dataset": dataset, "again": again}
        return page.show(request, visitor, ports, filled, form=form, **named)

    page.take_orders(router)


for _kind in PUBLIC.values():
    if _kind.page != "jobs":
        _take_orders(_kind)
