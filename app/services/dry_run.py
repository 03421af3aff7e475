"""What an order would do, without ordering it: its phases, how long earlier jobs took for as much, what would
be refused and what the job would warn of. Reads; writes nothing and locks nothing but the place in the queue,
for the moment of looking.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from app.db.models.assets import Checkpoint, Dataset
from app.db.repositories.assets import ListedDataset
from app.db.unit_of_work import UnitOfWork
from app.domain.errors import DomainError
from app.domain.states import DatasetKind
from app.services import nulls, policies, quotas, vettings
from app.services.api_keys import Caller
from app.services.earlier_jobs import load_of, measured_by
from app.services.estimates import Measured, Span, shipped_span, span_of, sum_of
from app.services.orders import (
    ANCHOR,
    LABELLED,
    MAIN,
    SUSPECT,
    Order,
    as_invalid,
    check_data,
    class_names,
    cost_by,
    memory_of,
    model_named,
    naming,
    recipe_source,
    refusals,
    usable_checkpoint,
    warnings_ahead,
    with_recommended_values,
)
from app.settings import Settings
from cleanclip.kinds.catalogue import KINDS
from cleanclip.kinds.phase import Load, Phase
from cleanclip.vocabulary.cautions import (
    TrainedClasses,
    before_audit,
    before_training,
    check_batch,
    check_folds,
    check_split,
)
from cleanclip.vocabulary.control import TOO_FEW_IMAGES, NotSearched
from cleanclip.vocabulary.device_memory import SPREAD, sharing
from cleanclip.vocabulary.device_plan import DevicePlan, Work
from cleanclip.vocabulary.errors import OptionsRejected
from cleanclip.vocabulary.model_cost import NO_PLAN, ModelCost, has_no_plan
from cleanclip.vocabulary.recipe import AuditOptions, Recipe, to_json
from cleanclip.vocabulary.recommended import RecipeSource
from cleanclip.vocabulary.scan_options import MIN_SEARCHED
from cleanclip.vocabulary.scan_section import MOST_FOUND

MOST_COMPARED_CHARACTERS = 200_000
"""Of class names: longer ones would take this process more than some 50 ms."""


@dataclass(frozen=True, kw_only=True)
class PhaseAhead:
    """What a phase computes; `span` None: nothing tells how long that takes."""

    phase: Phase
    does: str
    amount: int | None
    span: Span | None


@dataclass(frozen=True, kw_only=True)
class DryRun:
    """`refusals`: the order would not be taken, or the job would fail. `warnings`: it would say so itself,
    or there is no plan of the model."""

    recipe: Recipe | None
    recipe_source: RecipeSource | None
    """Where its values are from."""
    plan: DevicePlan | None
    """Of a GPU; None where the model is not known."""
    phases: tuple[PhaseAhead, ...]
    total: Span | None
    refusals: tuple[DomainError, ...]
    warnings: tuple[str, ...]


@dataclass
class _Found:
    """What the checks found, in their order."""

    refusals: list[DomainError] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @contextmanager
    def noting(self) -> Iterator[None]:
        try:
            yield
        except DomainError as error:
            self.refusals.append(error)
        except OptionsRejected as error:  # of the library: the job would be refused with it
            self.refusals.append(as_invalid(error))


def look_ahead(
    unit: UnitOfWork, caller: Caller, order: Order, settings: Settings, refused: Sequence[DomainError] = ()
) -> DryRun:
    """Every check of an order, and those of the job that need nothing but numbers. Refuses nothing itself.

    What the order does not name is not there yet: nothing is said of it. `refused` is what checks outside the
    transaction found.
    """
    found = _Found(refusals=list(refused), warnings=list(order.cautions))
    with found.noting():
        quotas.check_new_job(unit, caller.project_id, settings.quotas)
    checkpoints: dict[str, Checkpoint] = {}
    named = [*order.inputs(are_checkpoints=True)]
    for one in named:
        with found.noting():
            checkpoints[one.column] = usable_checkpoint(unit, caller.project_id, order, one, for_update=False)
    checkpoint = checkpoints.get(SUSPECT)
    order = with_recommended_values(order, checkpoint)
    datasets = _datasets(unit, caller, order, found)
    rows = {column: listed.row for column, listed in datasets.items()}
    lists: Mapping[str, Any] = {}
    with found.noting():
        lists = vettings.lists(unit, caller.project_id, order, rows) or {}
    is_known = len(checkpoints) == len(named) > 0
    load = load_of(
        KINDS[order.kind],
        sum(one.size_bytes for one in checkpoints.values()) if is_known else None,
        datasets,
        parts=order.parts,
        num_found=MOST_FOUND if order.scan is not None and order.audit is not None else 0,
        has_anchor=ANCHOR in order.ids,
        lists=lists,
    )
    for column, row in rows.items():
        if row.kind is DatasetKind.LABELLED:
            rows[column] = unit.datasets.get(caller.project_id, row.id)  # with its classes' names
    found.refusals += refusals(order, checkpoints, rows, settings.worker)
    if order.scan is not None:
        _judge_scan(unit, order, checkpoints, rows.get(LABELLED), found)
    found.warnings += warnings_ahead(order)
    if order.audit is not None:
        labelled, trained = _classes(rows.get(LABELLED)), _classes(rows.get(MAIN))
        _judge_policy(unit, caller, order, load, found, labelled=labelled)
        _judge_fit(order, load, checkpoint, (labelled, trained), found)
    measured = [] if checkpoint is None else measured_by(unit, caller.project_id, checkpoint)
    cost = cost_by(checkpoint)
    if has_no_plan(((checkpoint and checkpoint.inspection) or {}).get("architecture") or {}):
        found.warnings.append(NO_PLAN)
    phases = tuple(_ahead(phase, order, load, measured, cost) for phase in _phases(order))
    return DryRun(
        recipe=order.recipe,
        recipe_source=recipe_source(order, checkpoint),
        plan=None if cost is None else _plan(order, load, checkpoint, cost),
        phases=phases,
        total=sum_of(ahead.span for ahead in phases),
        refusals=tuple(found.refusals),
        warnings=tuple(dict.fromkeys(found.warnings)),
    )


def _phases(order: Order) -> tuple[Phase, ...]:
    return KINDS[order.kind].phases_of({name: to_json(options) for name, options in order.parts.items()})


def _plan(order: Order, load: Load, checkpoint: Checkpoint | None, cost: ModelCost) -> DevicePlan:
    shared = 1 if order.recipe is None else sharing(order.recipe, SPREAD)
    return DevicePlan.of(
        {number: memory_of(order, checkpoint, most_devices=number) for number in sorted({1, shared})},
        [
            Work(
                flop=phase.flop(load, cost),
                precision=phase.precision_on_gpu(load),
                is_spread=phase.is_spread,
            )
            for phase in _phases(order)
            if phase.computes
        ],
    )


def _ahead(
    phase: Phase, order: Order, load: Load, measured: Sequence[Measured], cost: ModelCost | None
) -> PhaseAhead:
    amount, precision = phase.amount(load), phase.precision(load)
    method = None if order.recipe is None else order.recipe.method
    span = span_of(amount, phase.unit, method, measured, precision=precision)
    if span is None and cost is not None and phase.computes and precision == "fp32":
        span = shipped_span(phase.num_images(load), phase.flop(load, cost))
    return PhaseAhead(phase=phase, does=phase.sentence(load), amount=amount, span=span)


def _datasets(unit: UnitOfWork, caller: Caller, order: Order, answer: _Found) -> dict[str, ListedDataset]:
    """Those that can be used as what the order names them as, by their columns."""
    named = [*order.inputs(are_checkpoints=False)]
    rows = unit.datasets.listed(caller.project_id, {order.ids[one.column] for one in named})
    usable: dict[str, ListedDataset] = {}
    for one in named:
        with answer.noting():
            listed = rows.get(dataset_id := order.ids[one.column])
            if listed is None or listed.row.deleted_at is not None:
                with naming(one.pointer):
                    unit.datasets.get(caller.project_id, dataset_id)  # raises NotFound
                continue
            check_data(order, one, listed.row)
            usable[one.column] = listed
    return usable


@dataclass(frozen=True, kw_only=True)
class _Classes:
    """Of a labelled set: the names of its classes, and the images of each where they were counted."""

    names: Sequence[str]
    counts: Sequence[int]

    @property
    def summary(self) -> dict[str, Any]:
        return {"class_names": self.names, "images_per_class": self.counts}


def _classes(dataset: Dataset | None) -> _Classes | None:
    """None for pairs, too."""
    if dataset is None or dataset.kind is not DatasetKind.LABELLED:
        return None
    counts = (dataset.summary or {}).get("images_per_class") or ()
    return _Classes(names=class_names(dataset), counts=[int(count) for count in counts])


def _judge_scan(
    unit: UnitOfWork,
    order: Order,
    checkpoints: Mapping[str, Checkpoint],
    labelled: Dataset | None,
    answer: _Found,
) -> None:
    """Which null the scan would be judged by."""
    if labelled is None or SUSPECT not in checkpoints or len(checkpoints) < 1 + (ANCHOR in order.ids):
        return
    with answer.noting():
        if nulls.chosen(unit, order, checkpoints, labelled) is None:
            answer.warnings.append(nulls.NOT_CALIBRATED)


def _judge_policy(
    unit: UnitOfWork,
    caller: Caller,
    order: Order,
    load: Load,
    answer: _Found,
    *,
    labelled: _Classes | None,
) -> None:
    audit: AuditOptions = load.parts["audit"]
    summary = labelled.summary if labelled is not None and order.recipe is not None else None
    with answer.noting():
        with naming("/policy_name"):
            policy, source = policies.resolve(unit, caller.project_id, order.policy, order.policy_name)
        is_cleaned, may_find = order.recipe is not None, order.scan is not None
        policies.check_order(
            policy,
            source,
            audit,
            summary=summary,
            num_labelled=load.num_labelled,
            recipe=order.recipe,
            may_find=may_find,
        )
        answer.warnings += before_audit(audit, policy, is_cleaned=is_cleaned)
        if source.given == "default":
            answer.warnings += policies.limits_too_strict(policy, audit, summary=summary)


def _judge_fit(
    order: Order,
    load: Load,
    checkpoint: Checkpoint | None,
    classes: tuple[_Classes | None, _Classes | None],
    answer: _Found,
) -> None:
    """The refusals and the warnings of the job itself, as far as numbers and names tell them. `classes` are
    those that are measured, and those of labelled images to train on."""
    labelled, trained = classes
    names = [] if labelled is None else labelled.names
    probe = load.parts["audit"].linear_probe
    if probe is not None and labelled and len(labelled.counts) == len(names) > 0:
        with answer.noting():
            check_folds(labelled.counts, names, probe.folds)
    recipe, num_training = order.recipe, load.num_training
    if recipe is not None and load.num_labelled is not None and load.num_labelled < MIN_SEARCHED:
        reported = NotSearched(not_searched=TOO_FEW_IMAGES).sentence
        answer.warnings.append(f"{load.num_labelled} labelled images. {reported}")
    if recipe is None or num_training is None:
        return
    model = model_named(checkpoint)
    with answer.noting():
        check_batch(recipe, num_training)
    if model is None:
        return
    family, size = model
    with answer.noting():
        check_split(recipe, has_batch_norm=family == "ModifiedResNet")
    if not names or num_training < recipe.batch_size:
        return
    trained_names = trained.names if trained and trained.names else None
    if trained_names and sum(map(len, chain(names, trained_names))) > MOST_COMPARED_CHARACTERS:
        names, trained_names = trained_names, None
        answer.warnings.append(
            "The class names of the two sets are too long to be compared here; the job compares them."
        )
    compared = TrainedClasses.of(trained_names, names) if trained_names else None
    answer.warnings += before_training(
        recipe,
        num_samples=num_training,
        num_classes=len(names),
        trained=compared,
        family=family,
        size=size,
        given=order.recipe_given,
    )
