"""What the pages that order a job share: the draft that a form says, the lists that it offers, its dry run
and the order. A page gives its path, its template, how its form is read and what its lists hold.
"""

import json
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request
from pydantic import TypeAdapter, ValidationError
from starlette.responses import Response

from app.db.models.assets import Checkpoint, NullSet
from app.db.models.job import Job
from app.db.models.project import Policy
from app.db.repositories.assets import ListedDataset
from app.db.unit_of_work import UnitOfWork
from app.domain.errors import Conflict, DomainError, InvalidInput, NotFound, QuotaExceeded
from app.domain.states import CheckpointState, DatasetKind, DatasetState
from app.edge.error_codes import status_of
from app.edge.invalid_values import error_item
from app.live.ports import Ports, PortsDep
from app.services import dry_run, found_attacks, jobs, quotas
from app.services.dry_run import DryRun
from app.services.orders import Order
from app.web.kit.once import FIELD, is_form, new_form, once
from app.web.kit.rendering import page, see_other, time_text
from app.web.kit.visitor import Form, FormDep, Runner, Visitor
from cleanclip.kinds.kind import DATA_TITLES, Input
from cleanclip.vocabulary.recipe import CleanCLIPRecipe

MOST_CHOICES = 100
"""Of each list; what is older is named by its id."""
_AND = "+"
"""Between the ids of two jobs that one form ordered."""
_INDICES = re.compile(r"(/\d+)+$")
_SAID = {
    "missing": "Fill this in.",
    "string_too_short": "Fill this in.",
    "string_pattern_mismatch": "This does not have the form that this field needs.",
    "number_expected": "A number is expected, for example 3, 0.5 or 1e-5.",
    "int_from_float": "A whole number is expected.",
    "bool_type": "Choose yes or no.",
    "literal_error": "Choose one of the list.",
}


async def _place(visitor: Runner, ports: PortsDep) -> AsyncIterator[None]:
    async with ports.computing.one_for(visitor.caller.project_id):
        yield


TAKES_A_PLACE = Depends(_place, scope="function")

Name = Annotated[str | None, Query(max_length=64)]


@dataclass(kw_only=True)
class OrderDraft:
    """What a form says: `body` as the API would take it, `order` where that is one, `errors` by field."""

    form: Form
    body: dict[str, Any] = field(default_factory=dict)
    order: Order | None = None
    errors: dict[str, str] = field(default_factory=dict)
    recipe_note: str = ""
    """Which method was chosen, and why."""
    has_beside: bool = False
    """Whether CleanCLIP is ordered as well, to be compared."""
    fields: frozenset[str] | None = None
    """Those of the form: what is wrong elsewhere is said above it. None: each place of an order has one."""

    def field_of(self, pointer: str) -> str:
        """The field that a pointer into the order is about; empty where no field is to blame."""
        return pointer.strip("/")

    def _place(self, pointer: str | None) -> str:
        """`field_of`, where a list has one field, not one for each of its values."""
        place = _INDICES.sub("", self.field_of(pointer or ""))
        return place if self.fields is None or place in self.fields else ""

    def refuse(self, error: DomainError) -> None:
        """A use case's refusal, beside its field."""
        self.errors.setdefault(self._place(error.pointer), f"{error.message} {error.remedy}")

    def take(self, adapter: TypeAdapter[Any], *, default_max_attempts: int) -> None:
        """The body as an order; else `errors` says everything that is wrong with it."""
        try:
            wanted = adapter.validate_python(self.body)
        except ValidationError as error:
            for mistake in error.errors(include_input=False, include_url=False):
                item = error_item({**mistake, "loc": ("body", *mistake["loc"])}, self.body)
                place = self._place(item.pointer)
                self.errors.setdefault(place, mistake_sentence(mistake["type"], place, item.detail))
            return
        if not self.errors:
            self.order = Order.of(wanted, default_max_attempts=default_max_attempts)

    @property
    def content(self) -> str:
        """Equal texts, equal orders."""
        return json.dumps([self.body, self.has_beside], sort_keys=True)


def mistake_sentence(mistake: str, place: str, detail: str) -> str:
    if place == "policy_name" or (mistake == "missing" and place.endswith("_id")):
        return "Choose one."
    return _SAID.get(mistake) or detail.replace("Input should be", "This must be", 1)


def named(form: Form, name: str, option: str | None = None) -> dict[str, str]:
    """An id: the one that was typed, else the one that was chosen."""
    value = form.get(f"{name}:typed") or form.get(name)
    return {option or name: value} if value else {}


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What the form's lists offer."""

    checkpoints: Sequence[Checkpoint]
    labelled: Sequence[ListedDataset] = ()
    pairs: Sequence[ListedDataset] = ()
    policies: Sequence[Policy] = ()
    class_names: Sequence[str] = ()
    nulls: Sequence[NullSet] = ()

    def of(self, one: Input) -> list[tuple[str, list[tuple[str, str]]]]:
        """What the input may be, by what it is."""
        if one.folder is not None:
            return [("Checkpoints", self.named_checkpoints)]
        named = {"pairs": self.named_pairs, "labelled": self.named_labelled}
        return [(DATA_TITLES[kind], named[kind]) for kind in one.roles]

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


def accepted_checkpoints(unit: UnitOfWork, project_id: str) -> Sequence[Checkpoint]:
    return unit.checkpoints.page(project_id, None, MOST_CHOICES, state=CheckpointState.ACCEPTED)[0]


def ready_datasets(unit: UnitOfWork, project_id: str, kind: DatasetKind) -> Sequence[ListedDataset]:
    return unit.datasets.page(project_id, None, MOST_CHOICES, state=DatasetState.READY, kind=kind)[0]


@dataclass(frozen=True, kw_only=True)
class OrderPage:
    """A page that orders a job. `read` takes form, ports and the project's id."""

    path: str
    template: str
    read: Callable[[Form, Ports, str], OrderDraft]
    choices: Callable[[UnitOfWork, str, Form], Choices]
    shown: Mapping[str, object] = field(default_factory=dict)
    """What its template takes besides."""

    def take_orders(self, router: APIRouter) -> None:
        """Adds the routes beside that of the form, which each page has itself."""
        path = self.path.removeprefix("/ui")

        @router.get(f"{path}/check")
        def show_form_again(visitor: Runner) -> Response:
            """Who reloads a dry run by its address begins again."""
            del visitor
            return see_other(self.path)

        @router.post(f"{path}/check", dependencies=[TAKES_A_PLACE])
        def check(request: Request, visitor: Runner, form: FormDep, ports: PortsDep) -> Response:
            return self.check(request, visitor, form, ports)

        @router.post(path)
        def order(request: Request, visitor: Runner, form: FormDep, ports: PortsDep) -> Response:
            return self.order(request, visitor, form, ports)

    def show(
        self,
        request: Request,
        visitor: Visitor,
        ports: Ports,
        fill: Callable[[UnitOfWork], Form],
        *,
        form: str | None,
        **named: str | None,
    ) -> Response:
        """The form as `fill` makes it from the address. The form's id becomes part of that: see `once`."""
        if not is_form(form_id := form or ""):
            query = {name: value for name, value in named.items() if value} | {FIELD: new_form()}
            return see_other(f"{self.path}?{urlencode(query)}")
        with ports.database.unit_of_work(visitor.caller.project_id) as unit:
            draft = OrderDraft(form=fill(unit))
            return self._page(request, visitor, unit, draft, form_id=form_id)

    def check(self, request: Request, visitor: Visitor, form: Form, ports: Ports) -> Response:
        """Says what the order would do, and orders nothing."""
        draft = self.read(form, ports, visitor.caller.project_id)
        ahead, caller = None, visitor.caller
        refused: Sequence[DomainError] = ()
        if draft.order is not None:
            draft.order, refused = found_attacks.with_found_or_refusal(
                ports.database, ports.store, caller, draft.order
            )
        with ports.database.unit_of_work(visitor.caller.project_id) as unit:
            if draft.order is not None:
                ahead = dry_run.look_ahead(unit, caller, draft.order, ports.settings, refused)
                for refusal in ahead.refusals:
                    draft.refuse(refusal)
            status = 422 if ahead is None else 200
            return self._page(request, visitor, unit, draft, status=status, ahead=ahead, is_dry_run=True)

    def order(self, request: Request, visitor: Visitor, form: Form, ports: Ports) -> Response:
        """Orders it once, however often the form is sent. What is refused is said in the form."""
        draft = self.read(form, ports, visitor.caller.project_id)
        status = 422
        if draft.order is not None:
            try:
                draft.order = found_attacks.with_found(
                    ports.database, ports.store, visitor.caller, draft.order
                )
                made = self._ordered(ports, visitor, draft, draft.order).split(_AND)
                both = urlencode([("job", one) for one in made])
                return see_other(f"/ui/jobs/{made[0]}" if len(made) == 1 else f"/ui/compare?{both}")
            except (InvalidInput, NotFound, Conflict, QuotaExceeded) as error:
                draft.refuse(error)
                status = status_of(error)
        with ports.database.unit_of_work(visitor.caller.project_id) as unit:
            return self._page(request, visitor, unit, draft, status=status)

    def _ordered(self, ports: Ports, visitor: Visitor, draft: OrderDraft, order: Order) -> str:
        caller = visitor.caller

        def work(unit: UnitOfWork) -> tuple[str, Job]:
            quotas.check_new_job(unit, caller.project_id, ports.settings.quotas)
            job = jobs.create(unit, caller, order, ports.settings.worker)
            if not draft.has_beside:
                return job.id, job
            quotas.check_new_job(unit, caller.project_id, ports.settings.quotas)
            other = replace(order.with_part("recipe", CleanCLIPRecipe()), recipe_given=())
            return f"{job.id}{_AND}{jobs.create(unit, caller, other, ports.settings.worker).id}", job

        form_id = draft.form.get(FIELD)
        return once(ports, caller, path=self.path, form=form_id, content=draft.content, work=work)

    def _page(
        self,
        request: Request,
        visitor: Visitor,
        unit: UnitOfWork,
        draft: OrderDraft,
        *,
        form_id: str | None = None,
        status: int = 200,
        ahead: DryRun | None = None,
        is_dry_run: bool = False,
    ) -> Response:
        choices = self.choices(unit, visitor.caller.project_id, draft.form)
        return page(
            request,
            self.template,
            status,
            form=draft.form,
            errors=draft.errors,
            choices=choices,
            class_names=choices.class_names,
            form_id=draft.form.get(FIELD) if form_id is None else form_id,
            ahead=ahead,
            recipe_note=draft.recipe_note,
            is_dry_run=is_dry_run,
            **self.shown,
        )
