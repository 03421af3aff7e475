"""What is asked of a job, and whether what is there allows it. Each check stands alone: an order meets the
first that refuses, a dry run tells of all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any

from app.db.models.assets import Checkpoint, Dataset
from app.db.unit_of_work import UnitOfWork
from app.domain.errors import DomainError, InvalidInput
from app.domain.states import DatasetKind, JobKind
from app.schemas.orders import JobIn
from app.services.checkpoints import check_accepted
from app.services.datasets import check_usable
from app.settings import WorkerSettings
from cleanclip.kinds.catalogue import KINDS
from cleanclip.kinds.facts import Data, Facts
from cleanclip.kinds.kind import Input, Kind
from cleanclip.vocabulary import anchors, device_memory
from cleanclip.vocabulary.attack_options import AttackOptions
from cleanclip.vocabulary.errors import SanitizerError
from cleanclip.vocabulary.model_cost import ModelCost, cost_of
from cleanclip.vocabulary.policy import Policy
from cleanclip.vocabulary.recipe import AuditOptions, OutputLayout, Recipe
from cleanclip.vocabulary.recommended import Model, RecipeSource, model_of, with_recommended
from cleanclip.vocabulary.scan_options import ScanOptions
from cleanclip.vocabulary.scan_section import ScanSection

SUSPECT, ANCHOR = "checkpoint_id", "anchor_checkpoint_id"
MAIN, LABELLED = "dataset_id", "labelled_dataset_id"
RETRIEVAL, TRUSTED = "retrieval_dataset_id", "trusted_dataset_id"
"""Where a row, and an order, has the ids of what it reads. Which kind reads what: `cleanclip.kinds`."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is asked of a job."""

    kind: JobKind
    name: str | None = None
    ids: Mapping[str, str]
    """By the columns of the job's row. In a dry run what is not there yet is missing."""
    exclude: tuple[str, ...] = ()
    """Vettings whose lists of samples are left out: see `vettings.lists`."""
    parts: Mapping[str, Any]
    """Options, by the names of the parts that a kind may have: of the kind's own, and of what it does besides
    (a cleaning that scans first has a scan, whose findings are not known yet)."""
    recipe_given: tuple[str, ...] | None = None
    """Of the recipe's options those that were given; None: there is no recipe."""
    attacks_from_scan: str | None = None
    """A scan whose found triggers are attacks, too: see `found_attacks`."""
    attacks_beside: tuple[AttackOptions, ...] = ()
    """Those that the order names besides."""
    scan_section: ScanSection | None = None
    """What the report says of that scan."""
    cautions: tuple[str, ...] = ()
    """What a dry run warns of, found when the order was read."""
    null: str = "auto"
    """The name of a null, "auto" or "none"."""
    policy: Policy | None = None
    policy_name: str | None = None
    seed: int
    output_layout: OutputLayout | None = None
    max_attempts: int
    metadata: dict[str, str]

    @property
    def recipe(self) -> Recipe | None:
        return self.parts.get("recipe")

    @property
    def audit(self) -> AuditOptions | None:
        return self.parts.get("audit")

    @property
    def scan(self) -> ScanOptions | None:
        return self.parts.get("scan")

    def with_part(self, name: str, options: Any) -> Order:
        """With other options of that name."""
        return replace(self, parts={**self.parts, name: options})

    @classmethod
    def of(cls, body: JobIn, *, default_max_attempts: int) -> Order:
        """`default_max_attempts` where the body leaves them to the service."""
        inputs = KINDS[body.kind].inputs
        found = {one.column: attrgetter(".".join(one.place))(body) for one in inputs}
        return cls(
            kind=JobKind(body.kind),
            name=body.name,
            ids={column: its_id for column, its_id in found.items() if its_id is not None},
            seed=body.seed,
            max_attempts=body.max_attempts or default_max_attempts,
            metadata=dict(body.metadata),
            **body.asked(),
        )

    def inputs(self, *, are_checkpoints: bool) -> Iterator[Input]:
        """Those that the order names."""
        for one in KINDS[self.kind].inputs:
            if one.column in self.ids and (one.folder is not None) == are_checkpoints:
                yield one

    def pointer(self, column: str) -> str:
        """Where the order names it."""
        return next(one.pointer for one in KINDS[self.kind].inputs if one.column == column)


def usable_checkpoints(
    unit: UnitOfWork, project_id: str, order: Order, *, for_update: bool
) -> dict[str, Checkpoint]:
    """Every checkpoint that the order names, by its column. Raises NotFound, Conflict
    (`checkpoint_not_accepted`)."""
    # Locked in the order of their ids: two orders may name the same two the other way round.
    named = sorted(order.inputs(are_checkpoints=True), key=lambda one: order.ids[one.column])
    return {
        one.column: usable_checkpoint(unit, project_id, order, one, for_update=for_update) for one in named
    }


def usable_checkpoint(
    unit: UnitOfWork, project_id: str, order: Order, one: Input, *, for_update: bool
) -> Checkpoint:
    """Raises NotFound, Conflict (`checkpoint_not_accepted`)."""
    with naming(one.pointer):
        checkpoint = unit.checkpoints.get(project_id, order.ids[one.column], for_update=for_update)
        check_accepted(checkpoint)
    return checkpoint


def check_data(order: Order, one: Input, dataset: Dataset) -> None:
    """Raises InvalidInput (`dataset_wrong_kind`), Conflict (`dataset_not_ready`)."""
    kinds = [order.recipe.training_data] if one.trains and order.recipe else [*one.roles]
    check_usable(dataset, DatasetKind(kinds[0]) if len(kinds) == 1 else None, one.pointer)


def usable_data(unit: UnitOfWork, project_id: str, order: Order) -> dict[str, Dataset]:
    """Every dataset that the order names can be used as what it is named as; by their columns.

    Locked until the transaction ends. Raises NotFound, InvalidInput, Conflict.
    """
    named = [*order.inputs(are_checkpoints=False)]
    rows = unit.datasets.locked(project_id, {order.ids[one.column] for one in named})
    found: dict[str, Dataset] = {}
    for one in sorted(named, key=lambda one: order.ids[one.column]):
        dataset_id = order.ids[one.column]
        with naming(one.pointer):
            found[one.column] = rows.get(dataset_id) or unit.datasets.get(
                project_id, dataset_id, for_update=True
            )
    for one in named:
        check_data(order, one, found[one.column])
    return {one.column: found[one.column] for one in named}


def refusals(
    order: Order, checkpoints: Mapping[str, Checkpoint], data: Mapping[str, Dataset], worker: WorkerSettings
) -> Iterator[InvalidInput]:
    """All that the job would be refused for and rows can tell, with the codes of a failed job, and what
    the workers' memory cannot hold. `checkpoints` and `data` by their columns: of a dry run the known ones.
    """
    pointers = {one.column: one.pointer for one in KINDS[order.kind].inputs if one.column in order.ids}
    for kind, facts in _facts(order, checkpoints, data):
        for error in kind.check(facts):
            yield as_invalid(error, pointers.get(error.where or ""))
    if (worker_bytes := worker.device_memory_bytes) is not None:
        most_devices = device_memory.SPREAD if worker.max_ranks == "auto" else worker.max_ranks
        memory = memory_of(order, checkpoints.get(SUSPECT), worker_bytes, most_devices)
        yield from map(as_invalid, device_memory.check_memory(memory, worker_bytes))


def warnings_ahead(order: Order) -> Iterator[str]:
    """What the job's report would warn of, and the order tells."""
    for kind, facts in _facts(order, {}, {}):
        yield from kind.warnings(facts)


def _facts(
    order: Order, checkpoints: Mapping[str, Checkpoint], data: Mapping[str, Dataset]
) -> Iterator[tuple[Kind, Facts]]:
    """Of each kind that has a part in the order."""
    models = {column: _model(row) for column, row in checkpoints.items()}
    known = {column: _known(row) for column, row in data.items()}
    for kind in KINDS.values():
        if (options := order.parts.get(kind.option_part)) is not None:
            yield kind, Facts(options=options, named=order.ids, models=models, data=known)


def memory_of(
    order: Order, checkpoint: Checkpoint | None, worker_bytes: int | None = None, most_devices: int = 1
) -> tuple[device_memory.Memory, ...]:
    """What each phase needs of a device; empty where the model is not known."""
    if (cost := cost_by(checkpoint)) is None:
        return ()
    return device_memory.memory_of(
        cost,
        recipe=with_recommended_values(order, checkpoint).recipe,
        audit=order.audit,
        scan=order.scan,
        has_anchor=ANCHOR in order.ids,
        worker_bytes=worker_bytes,
        most_devices=most_devices,
    )


def cost_by(checkpoint: Checkpoint | None) -> ModelCost | None:
    """By the checkpoint's inspection; None where that does not tell."""
    return cost_of(((checkpoint and checkpoint.inspection) or {}).get("architecture") or {})


def _model(checkpoint: Checkpoint) -> anchors.Model:
    config = (checkpoint.inspection or {}).get("architecture") or {}
    return anchors.Model(weights_sha256=checkpoint.weights_sha256, config=config)


def _known(dataset: Dataset) -> Data:
    summary = dataset.summary or {}
    counts = summary.get("images_per_class")
    return Data(
        kind=dataset.kind,
        sha256=summary.get("sha256"),
        num_good=int(summary.get("num_samples", 0)),
        class_names=class_names(dataset),
        num_classes_used=sum(map(bool, counts)) if counts else None,
    )


def as_invalid(error: SanitizerError, pointer: str | None = None) -> InvalidInput:
    """The library's refusal as one of this request, at `pointer` or at the place that it names itself."""
    place = "/" + (error.where or "").removeprefix("/").replace(".", "/")
    return InvalidInput(error.code, error.message, error.remedy, pointer or place)


def with_recommended_values(order: Order, checkpoint: Checkpoint | None) -> Order:
    """With what is recommended for the model in the options that its recipe leaves out."""
    if order.recipe is None:
        return order
    given, model = order.recipe_given or (), model_named(checkpoint)
    return order.with_part("recipe", with_recommended(order.recipe, given, model))


def recipe_source(order: Order, checkpoint: Checkpoint | None) -> RecipeSource | None:
    """Where the recipe's values are from; None of an order without one."""
    if order.recipe is None:
        return None
    return RecipeSource.of(order.recipe, order.recipe_given or (), model_named(checkpoint))


def model_named(checkpoint: Checkpoint | None) -> Model | None:
    """Family and size of a checkpoint, as its inspection found them."""
    return None if checkpoint is None else model_of(checkpoint.inspection or {})


@contextmanager
def naming(pointer: str) -> Iterator[None]:
    """Adds the pointer of the field that named a thing to its refusal; the library's become InvalidInput."""
    try:
        yield
    except DomainError as error:
        error.pointer = error.pointer or pointer
        raise
    except SanitizerError as error:
        raise as_invalid(error, pointer) from error


def class_names(labelled: Dataset) -> Sequence[str]:
    """The classes of a ready labelled set: as counted by its validation, else as given."""
    found = (labelled.summary or {}).get("class_names") or labelled.class_names or []
    return [str(name) for name in found]
