"""Jobs: check what is asked against what is there, enqueue, and pass on cancel, pause, resume and retry."""

from collections.abc import Callable
from typing import Literal

from app.db.models.assets import Dataset
from app.db.models.job import Job
from app.db.repositories.jobs import JobRepository
from app.db.unit_of_work import UnitOfWork
from app.domain.errors import NotFound
from app.domain.ids import new_id
from app.domain.states import PUBLIC_KINDS
from app.services import nulls, policies, quotas, vettings
from app.services.api_keys import Caller
from app.services.orders import (
    LABELLED,
    MAIN,
    SUSPECT,
    Order,
    naming,
    recipe_source,
    refusals,
    usable_checkpoints,
    usable_data,
    with_recommended_values,
)
from app.services.trail import note
from app.settings import QuotaSettings, WorkerSettings
from cleanclip.kinds.catalogue import KINDS
from cleanclip.vocabulary.recipe import AuditOptions, to_json

Action = Literal["cancel", "pause", "resume", "retry"]


def create(unit: UnitOfWork, caller: Caller, order: Order, worker: WorkerSettings) -> Job:
    """Enqueue the job, its event and its outbox row in this transaction.

    Raises NotFound for ids of other projects (with the pointer of the field), Conflict
    (`checkpoint_not_accepted`, `dataset_not_ready`), InvalidInput (`dataset_wrong_kind`, `unknown_target`,
    `does_not_fit`, and what is wrong with the policy or the null).
    """
    checkpoints = usable_checkpoints(unit, caller.project_id, order, for_update=True)
    data = usable_data(unit, caller.project_id, order)
    for refusal in refusals(order, checkpoints, data, worker):
        raise refusal
    order = with_recommended_values(order, checkpoints.get(SUSPECT))
    spec: dict[str, object] = {name: to_json(options) for name, options in order.parts.items()}
    if order.scan is not None:
        spec["null"] = nulls.kept(unit, order, checkpoints, data[LABELLED])
    if MAIN in data and "data_kind" in KINDS[order.kind].spec_fields:
        spec["data_kind"] = data[MAIN].kind.value
    if order.audit is not None:
        source = recipe_source(order, checkpoints[SUSPECT])
        spec |= _judged_spec(unit, caller, order, order.audit, data[LABELLED])
        spec["recipe_source"] = None if source is None else to_json(source)
        spec["exclude"] = vettings.lists(unit, caller.project_id, order, data)
    job = unit.jobs.enqueue(
        Job(
            id=new_id("job"),
            project_id=caller.project_id,
            kind=order.kind,
            name=order.name,
            **order.ids,
            spec=spec | {"requested_by": _requester(unit, caller)},
            seed=order.seed,
            job_metadata=order.metadata,
            max_attempts=order.max_attempts,
        )
    )
    note(unit, caller, "job.create", job.id)
    return job


def _judged_spec(
    unit: UnitOfWork, caller: Caller, order: Order, audit: AuditOptions, labelled: Dataset
) -> dict[str, object]:
    """Of an audit or a cleaning, which limits decide."""
    with naming("/policy_name"):
        policy, source = policies.resolve(unit, caller.project_id, order.policy, order.policy_name)
    policies.check_order(
        policy,
        source,
        audit,
        summary=labelled.summary if order.recipe is not None else None,
        num_labelled=None if labelled.summary is None else labelled.summary.get("num_samples"),
        recipe=order.recipe,
        may_find=order.scan is not None,
    )
    return {
        "recipe_given": None if order.recipe_given is None else list(order.recipe_given),
        "scan_section": None if order.scan_section is None else to_json(order.scan_section),
        "policy": to_json(policy),
        "policy_source": to_json(source),
        "output_layout": order.output_layout,
    }


def _requester(unit: UnitOfWork, caller: Caller) -> dict[str, str]:
    """Who ordered, in the names of that moment: the job's report says so to people."""
    project, key_name = unit.api_keys.holder(caller.project_id, caller.key_id)
    return {"project": project, "key_id": caller.key_id, "key_name": key_name}


def get(unit: UnitOfWork, project_id: str, job_id: str) -> Job:
    """A customer's job; the service's own jobs are not found. Raises NotFound."""
    job = unit.jobs.get(project_id, job_id)
    if job.kind not in PUBLIC_KINDS:
        raise not_found(job_id)
    return job


def not_found(job_id: str) -> NotFound:
    """The same refusal that the repository gives."""
    return JobRepository.not_found(job_id)


def rename(unit: UnitOfWork, caller: Caller, job_id: str, name: str | None) -> Job:
    """Give it another name, in whatever state; None takes the name away. Raises NotFound."""
    get(unit, caller.project_id, job_id)
    job = unit.jobs.rename(caller.project_id, job_id, name)
    note(unit, caller, "job.rename", job_id)
    return job


def act(unit: UnitOfWork, caller: Caller, job_id: str, action: Action, defaults: QuotaSettings) -> Job:
    """cancel: at once when it waits, within seconds when it runs. pause: the worker saves the training state
    and lets go. resume: a paused job is queued again, from its saved state. retry: a failed one, with all its
    attempts. The first two change nothing the second time; the others need a place in the queue, as a new job
    does. Raises NotFound, Conflict, QuotaExceeded.
    """
    get(unit, caller.project_id, job_id)
    if needs_place := action in {"resume", "retry"}:
        unit.quotas.hold(caller.project_id)
    changes: dict[Action, Callable[[str, str], Job]] = {
        "cancel": unit.jobs.request_cancel,
        "pause": unit.jobs.request_pause,
        "resume": unit.jobs.resume,
        "retry": unit.jobs.retry,
    }
    job = changes[action](caller.project_id, job_id)
    note(unit, caller, f"job.{action}", job_id)
    if needs_place:
        quotas.check_queued(unit, caller.project_id, defaults, job)
    return job
