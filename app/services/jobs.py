"""Jobs: check what is asked against what is there, enqueue, and pass on cancel, pause, resume and retry."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from app.db.models.dataset import Dataset
from app.db.models.job import Job
from app.db.unit_of_work import UnitOfWork
from app.domain.errors import DomainError, InvalidInput, NotFound
from app.domain.ids import new_id
from app.domain.states import PUBLIC_KINDS, DatasetKind, JobKind
from app.services import policies
from app.services.api_keys import Caller
from app.services.audit_log import note
from app.services.checkpoints import check_accepted
from app.services.datasets import check_usable
from sanitizer.recipe import AuditOptions, OutputLayout, Policy, PolicySource, Recipe, to_json


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is asked of a job. `dataset_id` and `recipe` with kind sanitize only."""

    kind: JobKind
    checkpoint_id: str
    dataset_id: str | None
    labelled_dataset_id: str
    retrieval_dataset_id: str | None
    recipe: Recipe | None
    recipe_given: tuple[str, ...] | None = None
    """Of the recipe's options those that were given; None: not known."""
    audit: AuditOptions
    policy: Policy | None
    policy_name: str | None = None
    seed: int
    output_layout: OutputLayout | None
    max_attempts: int
    metadata: dict[str, str]


def create(unit: UnitOfWork, caller: Caller, order: Order) -> Job:
    """Enqueue the job, its event and its outbox row in this transaction.

    Raises NotFound for ids of other projects (with the pointer of the field), Conflict
    (`checkpoint_not_accepted`, `dataset_not_ready`), InvalidInput (`dataset_wrong_kind`, `unknown_target`,
    and what is wrong with the policy).
    """
    with _naming("/checkpoint_id"):
        checkpoint = unit.checkpoints.get(caller.project_id, order.checkpoint_id, for_update=True)
    check_accepted(checkpoint)
    labelled = _check_data(unit, caller, order)
    _check_apart(order)
    check_targets(order.audit, class_names(labelled))
    with _naming("/policy_name"):
        policy, source = policies.resolve(unit, caller.project_id, order.policy, order.policy_name)
    policies.check_order(
        policy,
        source,
        order.audit,
        summary=labelled.summary if order.kind is JobKind.SANITIZE else None,
    )
    job = unit.jobs.enqueue(
        Job(
            id=new_id("job"),
            project_id=caller.project_id,
            kind=order.kind,
            checkpoint_id=order.checkpoint_id,
            dataset_id=order.dataset_id,
            labelled_dataset_id=order.labelled_dataset_id,
            retrieval_dataset_id=order.retrieval_dataset_id,
            spec=_spec(order, policy, source),
            seed=order.seed,
            job_metadata=order.metadata,
            max_attempts=order.max_attempts,
        )
    )
    note(unit, caller, "job.create", job.id)
    return job


def _check_data(unit: UnitOfWork, caller: Caller, order: Order) -> Dataset:
    """Every data set that the order names can be used as what it is named as; returns the labelled one."""
    training = DatasetKind(order.recipe.training_data) if order.recipe else DatasetKind.PAIRS
    named = {
        "/dataset_id": (order.dataset_id, training),
        "/audit/dataset_id": (order.labelled_dataset_id, DatasetKind.LABELLED),
        "/audit/retrieval_dataset_id": (order.retrieval_dataset_id, DatasetKind.PAIRS),
    }
    found: dict[str, Dataset] = {}
    # Locked in the order of their ids: two orders may name the same sets the other way round.
    for pointer, (dataset_id, _) in sorted(named.items(), key=lambda item: item[1][0] or ""):
        if dataset_id is not None:
            with _naming(pointer):
                found[pointer] = unit.datasets.get(caller.project_id, dataset_id, for_update=True)
    for pointer, (_, kind) in named.items():
        if pointer in found:
            check_usable(found[pointer], kind, pointer)
    return found["/audit/dataset_id"]


def _check_apart(order: Order) -> None:
    """Raises InvalidInput where a model would be measured on what it was trained on."""
    if order.dataset_id is None:
        return
    for pointer, measured in (
        ("/dataset_id", order.labelled_dataset_id),
        ("/audit/retrieval_dataset_id", order.retrieval_dataset_id),
    ):
        if order.dataset_id == measured:
            raise InvalidInput(
                "trained_on_the_test",
                "The data set to train on is one that the audits measure on, which would show nothing then.",
                "Register another data set.",
                pointer=pointer,
            )


def _spec(order: Order, policy: Policy, source: PolicySource) -> dict[str, object]:
    return {
        "version": 1,
        "recipe": None if order.recipe is None else to_json(order.recipe),
        "recipe_given": None if order.recipe_given is None else list(order.recipe_given),
        "audit": to_json(order.audit),
        "policy": to_json(policy),
        "policy_source": to_json(source),
        "output_layout": order.output_layout,
    }


@contextmanager
def _naming(pointer: str) -> Iterator[None]:
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
    _check_target(audit.target, names, "/audit/target")
    for number, attack in enumerate(audit.attacks):
        if attack.target is not None:
            _check_target(attack.target, names, f"/audit/attacks/{number}/target")


def _check_target(target: str, names: Sequence[str], pointer: str) -> None:
    if target in names:
        return
    by_folded = {name.casefold(): name for name in names}
    near = [
        by_folded[folded]
        for folded in difflib.get_close_matches(target.casefold(), by_folded, n=3, cutoff=0.6)
    ]
    shown = " or ".join(f"'{name[:60]}'" for name in near) or ", ".join(
        f"'{name[:60]}'" for name in names[:5]
    )
    raise InvalidInput(
        "unknown_target",
        f"The target is none of the {len(names)} classes of the labelled data set.",
        f"Did you mean {shown}? The class must be written as in the data set."
        if near
        else f"Choose a class of the data set, for example {shown}.",
        pointer=pointer,
    )


def get(unit: UnitOfWork, project_id: str, job_id: str) -> Job:
    """A customer's job; the service's own jobs are not found. Raises NotFound."""
    job = unit.jobs.get(project_id, job_id)
    if job.kind not in PUBLIC_KINDS:
        raise not_found(job_id)
    return job


def not_found(job_id: str) -> NotFound:
    """The same refusal that the repository gives."""
    return NotFound(
        "job_not_found",
        f"There is no job {job_id[:64]!r} in this project.",
        "Check the id, and that the key belongs to the project that created it.",
    )


def cancel(unit: UnitOfWork, caller: Caller, job_id: str) -> Job:
    """At once when it waits, within seconds when it runs. Again: unchanged. Raises NotFound, Conflict."""
    get(unit, caller.project_id, job_id)
    job = unit.jobs.request_cancel(caller.project_id, job_id)
    note(unit, caller, "job.cancel", job_id)
    return job


def pause(unit: UnitOfWork, caller: Caller, job_id: str) -> Job:
    """The worker saves the training state and lets go. Again: unchanged. Raises NotFound, Conflict."""
    get(unit, caller.project_id, job_id)
    job = unit.jobs.request_pause(caller.project_id, job_id)
    note(unit, caller, "job.pause", job_id)
    return job


def resume(unit: UnitOfWork, caller: Caller, job_id: str) -> Job:
    """A paused job is queued again, from its saved state. Raises NotFound, Conflict."""
    get(unit, caller.project_id, job_id)
    job = unit.jobs.resume(caller.project_id, job_id)
    note(unit, caller, "job.resume", job_id)
    return job


def retry(unit: UnitOfWork, caller: Caller, job_id: str) -> Job:
    """A failed job is queued again with all its attempts. Raises NotFound, Conflict."""
    get(unit, caller.project_id, job_id)
    job = unit.jobs.retry(caller.project_id, job_id)
    note(unit, caller, "job.retry", job_id)
    return job
