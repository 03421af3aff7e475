"""What is asked of a job, and whether what is there allows it. Each check stands alone: an order meets the
first that refuses, a dry run tells of all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

from app.db.models.assets import Checkpoint, Dataset
from app.db.unit_of_work import UnitOfWork
from app.domain.errors import DomainError, InvalidInput
from app.domain.states import DatasetKind, JobKind
from app.services.checkpoints import check_accepted
from app.services.datasets import check_usable
from cleanclip.spec import templates
from cleanclip.spec.errors import OptionsRejected
from cleanclip.spec.found_attacks import TARGET_OF_SCAN
from cleanclip.spec.near_names import near_names
from cleanclip.spec.recipe import AttackOptions, AuditOptions, OutputLayout, Policy, Recipe
from cleanclip.spec.recommended import Model, RecipeSource, model_of, with_recommended
from cleanclip.spec.scan_options import ScanOptions
from cleanclip.spec.scan_section import ScanSection
from cleanclip.spec.vet_options import VetOptions

SUSPECT = "/checkpoint_id"
SCANS_FIRST = (
    "The job scans the model first, and audits the triggers that it finds beside those listed here. "
    "Order it with `scan: false` and a target to leave the scan out."
)
VETTED, TRUSTED = "/vet/dataset_id", "/vet/trusted_dataset_id"
"""Where an order names its checkpoint, and a vetting its datasets."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is asked of a job: what its kind has; a scan and a vetting have no `audit`. In a dry run ids are
    None of what is not there yet."""

    kind: JobKind
    name: str | None = None
    checkpoint_id: str | None
    dataset_id: str | None = None
    labelled_dataset_id: str | None = None
    retrieval_dataset_id: str | None = None
    trusted_dataset_id: str | None = None
    anchor_checkpoint_id: str | None = None
    exclude: tuple[str, ...] = ()
    """Vettings whose lists of samples are left out: see `vettings.lists`."""
    recipe: Recipe | None = None
    recipe_given: tuple[str, ...] | None = None
    """Of the recipe's options those that were given; None: there is no recipe."""
    audit: AuditOptions | None = None
    attacks_from_scan: str | None = None
    """A scan whose found triggers are attacks, too: see `found_attacks`."""
    attacks_beside: tuple[AttackOptions, ...] = ()
    """Those that the order names besides."""
    scan_section: ScanSection | None = None
    """What the report says of that scan."""
    cautions: tuple[str, ...] = ()
    """What the order's reader was to be told of it, for a dry run."""
    scan: ScanOptions | None = None
    """Also of a cleaning that scans first: what is found is then not known yet."""
    vet: VetOptions | None = None
    null: str = "auto"
    """The name of a null, "auto" or "none"."""
    policy: Policy | None = None
    policy_name: str | None = None
    seed: int
    output_layout: OutputLayout | None = None
    max_attempts: int
    metadata: dict[str, str]

    @property
    def labelled_pointer(self) -> str:
        """Where the order names its labelled dataset."""
        return "/audit/dataset_id" if self.scan is None or self.audit is not None else "/scan/dataset_id"

    @property
    def anchor_pointer(self) -> str:
        """Where the order names its second checkpoint, which is trusted."""
        return f"/{self.kind}/anchor_checkpoint_id"


def usable_checkpoints(
    unit: UnitOfWork, project_id: str, order: Order, *, for_update: bool
) -> dict[str, Checkpoint]:
    """Every checkpoint that the order names, by its pointer. Raises NotFound, Conflict
    (`checkpoint_not_accepted`)."""
    found: dict[str, Checkpoint] = {}
    # Locked in the order of their ids: two orders may name the same two the other way round.
    for pointer, checkpoint_id in sorted(checkpoints_named(order).items(), key=lambda item: item[1]):
        found[pointer] = usable_checkpoint(unit, project_id, checkpoint_id, pointer, for_update=for_update)
    return found


def checkpoints_named(order: Order) -> dict[str, str]:
    """Pointer → the id that stands there."""
    named = {SUSPECT: order.checkpoint_id, order.anchor_pointer: order.anchor_checkpoint_id}
    return {pointer: id for pointer, id in named.items() if id is not None}  # noqa: A001


def usable_checkpoint(
    unit: UnitOfWork, project_id: str, checkpoint_id: str, pointer: str, *, for_update: bool
) -> Checkpoint:
    """Raises NotFound, Conflict (`checkpoint_not_accepted`)."""
    with naming(pointer):
        checkpoint = unit.checkpoints.get(project_id, checkpoint_id, for_update=for_update)
        check_accepted(checkpoint)
    return checkpoint


def datasets_named(order: Order) -> dict[str, tuple[str, DatasetKind | None]]:
    """Pointer → the id that stands there, and the kind that is needed there; None: any."""
    if order.vet is not None:
        vetted = {VETTED: order.dataset_id, TRUSTED: order.trusted_dataset_id}
        return {pointer: (id, None) for pointer, id in vetted.items() if id is not None}  # noqa: A001
    training = DatasetKind(order.recipe.training_data) if order.recipe else DatasetKind.PAIRS
    named = {
        "/dataset_id": (order.dataset_id, training),
        order.labelled_pointer: (order.labelled_dataset_id, DatasetKind.LABELLED),
        "/audit/retrieval_dataset_id": (order.retrieval_dataset_id, DatasetKind.PAIRS),
    }
    return {pointer: (id, kind) for pointer, (id, kind) in named.items() if id is not None}  # noqa: A001


def usable_data(unit: UnitOfWork, project_id: str, order: Order) -> dict[str, Dataset]:
    """Every dataset that the order names can be used as what it is named as; by their pointers.

    Locked until the transaction ends. Raises NotFound, InvalidInput, Conflict.
    """
    named = datasets_named(order)
    rows = unit.datasets.locked(project_id, {dataset_id for dataset_id, _ in named.values()})
    found: dict[str, Dataset] = {}
    for pointer, (dataset_id, _) in sorted(named.items(), key=lambda item: item[1][0]):
        with naming(pointer):
            found[pointer] = rows.get(dataset_id) or unit.datasets.get(
                project_id, dataset_id, for_update=True
            )
    for pointer, (_, kind) in named.items():
        check_usable(found[pointer], kind, pointer)
    return found


def check_apart(order: Order) -> None:
    """Raises InvalidInput where a model would be measured on what it was trained on."""
    if order.dataset_id is None or order.vet is not None:
        return
    for pointer, measured in (
        ("/dataset_id", order.labelled_dataset_id),
        ("/audit/retrieval_dataset_id", order.retrieval_dataset_id),
    ):
        if order.dataset_id == measured:
            raise InvalidInput(
                "trained_on_the_test",
                "The model would be trained on a dataset that the audits measure on; such "
                "figures show nothing.",
                "Register another dataset.",
                pointer=pointer,
            )


def check_templates(options: AuditOptions | ScanOptions, part: Literal["audit", "scan"]) -> None:
    """Raises InvalidInput (`bad_template`); `part` of the order the options are."""
    try:
        templates.check_templates(options.templates, where=f"/{part}/templates")
    except OptionsRejected as error:
        pointer = (error.where or "").replace(".", "/")
        raise InvalidInput(error.code, error.message, error.remedy, pointer) from error


def with_recommended_values(order: Order, checkpoint: Checkpoint | None) -> Order:
    """With what is recommended for the model in the options that its recipe leaves out."""
    if order.recipe is None:
        return order
    given, model = order.recipe_given or (), model_named(checkpoint)
    return replace(order, recipe=with_recommended(order.recipe, given, model))


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
    """Adds the pointer of the field that named a thing to its refusal."""
    try:
        yield
    except DomainError as error:
        error.pointer = error.pointer or pointer
        raise


def class_names(labelled: Dataset) -> Sequence[str]:
    """The classes of a ready labelled set: as counted by its validation, else as given."""
    found = (labelled.summary or {}).get("class_names") or labelled.class_names or []
    return [str(name) for name in found]


def check_targets(audit: AuditOptions, names: Sequence[str]) -> None:
    """Raise InvalidInput (`unknown_target`) unless the audit's target and those of attacks are `names`."""
    known = frozenset(names)
    if audit.target != TARGET_OF_SCAN:
        _check_target(audit.target, known, names, "/audit/target")
    for number, attack in enumerate(audit.attacks):
        if attack.target is not None:
            _check_target(attack.target, known, names, f"/audit/attacks/{number}/target")


def _check_target(target: str, known: frozenset[str], names: Sequence[str], pointer: str) -> None:
    if target in known:
        return
    near = near_names(target, names)
    shown = " or ".join(f"'{name[:60]}'" for name in near) or ", ".join(
        f"'{name[:60]}'" for name in names[:5]
    )
    raise InvalidInput(
        "unknown_target",
        f"The target is not one of the {len(names)} classes of the labelled dataset.",
        f"Did you mean {shown}? The class must be written as in the dataset."
        if near
        else f"Choose a class of the dataset, for example {shown}.",
        pointer=pointer,
    )
