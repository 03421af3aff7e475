"""The one way a job changes visibly: version and event number grow and the event is appended, together.

An end is reported to the project's webhooks in the same transaction.

The caller holds the row's lock. Also: what a job's end means for the checkpoint or dataset it was about.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Float, cast, delete, func, select
from sqlalchemy.orm import Session

from app.db.models.assets import Checkpoint, Dataset, Upload, WeightsVerdict
from app.db.models.job import JOB_READY, LOSS_CURVE, Job, JobEvent, OutboxMessage
from app.db.repositories.attempt_values import NewVerdict, before_its_scan
from app.db.repositories.webhook_rows import tell_of_checkpoint, tell_of_dataset, tell_of_job
from app.domain.limits import MAX_LOST_ATTEMPTS, MAX_LOST_WAIT_S
from app.domain.states import (
    LEASED,
    PUBLIC_KINDS,
    RESUMABLE_ENDINGS,
    CheckpointState,
    DatasetState,
    JobKind,
    JobState,
    PhaseState,
    check_transition,
    phases_of,
)

Subject = TypeVar("Subject", Checkpoint, Dataset, Upload)

NO_PROGRESS: dict[str, Any] = {
    "fraction": 0.0,
    "step": None,
    "total_steps": None,
    "eta_s": None,
    "message": None,
}


def initial_progress(job: Job) -> dict[str, Any]:
    """None so far, but for the loss where training goes on from a saved state."""
    kept = job.progress.get(LOSS_CURVE) if job.resume_state else None
    return NO_PROGRESS | ({} if kept is None else {LOSS_CURVE: kept})


def seconds(value: float) -> ColumnElement[Any]:
    """An interval of that many seconds, for the database's clock."""
    return func.make_interval(0, 0, 0, 0, 0, 0, cast(value, Float(53)))


def pending_phases(kind: JobKind, spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The phases of a job that has not begun; `spec`: what was ordered."""
    return [
        {"name": phase.value, "state": PhaseState.PENDING.value, "started_at": None, "finished_at": None}
        for phase in phases_of(kind, spec)
    ]


def record(session: Session, job: Job, event: str, data: dict[str, Any] | None = None, **values: Any) -> None:
    """Set `values`, bump version and event number, append the event. The caller has locked the row."""
    for name, value in values.items():
        setattr(job, name, value)
    job.version += 1
    job.event_seq += 1
    session.add(event_of(job, event, data or {}))
    session.flush()


def event_of(job: Job, event: str, data: dict[str, Any]) -> JobEvent:
    """The job's last event."""
    return JobEvent(job_id=job.id, seq=job.event_seq, project_id=job.project_id, type=event, data=data)


_RFC_3339 = 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'  # for to_char; the session's time zone is UTC


def database_time(session: Session) -> str:
    """Now, by the only clock that counts, in UTC as RFC 3339."""
    return str(session.scalars(select(func.to_char(func.clock_timestamp(), _RFC_3339))).one())


def _broken_off(session: Session, job: Job, state: PhaseState) -> list[dict[str, Any]]:
    """The job's phases, the running one ended as `state`."""
    now = database_time(session)
    return [
        phase | {"state": state.value, "finished_at": now}
        if phase["state"] == PhaseState.RUNNING.value
        else phase
        for phase in job.phases
    ]


def move(
    session: Session, job: Job, state: JobState, event: str, data: dict[str, Any] | None = None, **values: Any
) -> None:
    """`record` with a change of state; the lease goes with the worker. Raises Conflict if not allowed.

    Where that ends an attempt whose job can go on, the event says whether the next one `resumes`; if not,
    what this one saved and found is forgotten.
    """
    check_transition(job.state, state)
    if job.state in LEASED and state in {JobState.QUEUED, JobState.PAUSED, JobState.FAILED}:
        ending = ((data or {}).get("error") or {}).get("code") or event
        data = {**(data or {}), "resumes": ending in RESUMABLE_ENDINGS}
        if not data["resumes"]:
            values |= {"resume_state": None, "spec": before_its_scan(job.spec)}
    if state not in {JobState.RUNNING, JobState.CANCELLING}:
        values |= {"lease_owner": None, "lease_expires_at": None}
    if state in {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}:
        values |= {"finished_at": func.clock_timestamp()}
    if state in {JobState.FAILED, JobState.CANCELLED}:
        values |= {"phases": _broken_off(session, job, PhaseState(state.value))}
    record(session, job, event, {"state": state.value} | (data or {}), state=state, **values)
    tell_of_job(session, job)


def announce(session: Session, job: Job) -> None:
    """Write the outbox row that makes a worker look at the job."""
    session.add(hint_of(job))
    job.hinted_at = func.clock_timestamp()
    session.flush()


def hint_of(job: Job) -> OutboxMessage:
    """The message that makes a worker look at the job."""
    payload = {"job_id": job.id, "kind": job.kind.value}
    return OutboxMessage(project_id=job.project_id, topic=JOB_READY, payload=payload)


def give_back(
    session: Session, job: Job, event: str, error: dict[str, Any], *, wait_s: float, data: dict[str, Any]
) -> None:
    """End an attempt that the operator's side broke: it does not count, and the job is queued again.

    `wait_s` before the next one; twice as long each time. After `MAX_LOST_ATTEMPTS` the job fails with
    `error`, and nobody else is blamed: what it was to accept stays undecided, with the error, and keeps its
    bytes.
    """
    job.attempts_used -= 1
    job.attempts_lost += 1
    if job.attempts_lost >= MAX_LOST_ATTEMPTS:
        remedy = f"Ask the operator: `python -m app.cli requeue {job.id}` tries again."
        error = error | {"remedy": remedy, "retryable": True}
        move(session, job, JobState.FAILED, "failed", {"error": error}, error=error)
        leave_undecided(session, job, error)
        return
    wait_s = min(wait_s * 2.0 ** (job.attempts_lost - 1), MAX_LOST_WAIT_S)
    not_before = func.clock_timestamp() + seconds(wait_s) if wait_s > 0 else None
    move(session, job, JobState.QUEUED, event, data | {"retry_in_s": wait_s}, not_before=not_before)
    announce(session, job)


def fail(
    session: Session, job: Job, error: dict[str, Any], scanners: Sequence[Mapping[str, Any]] = ()
) -> None:
    """End as failed; a checkpoint or dataset that the job was to accept is rejected with the same error."""
    move(session, job, JobState.FAILED, "failed", {"error": error}, error=error)
    reject_subject(session, job, error, scanners)


def cancel(session: Session, job: Job, data: dict[str, Any] | None = None) -> None:
    """End as cancelled; a checkpoint or dataset that the job was to accept is rejected."""
    move(session, job, JobState.CANCELLED, "cancelled", data)
    error = {
        "code": "cancelled",
        "message": "The check was cancelled before it ended.",
        "remedy": "Upload or register it again.",
    }
    reject_subject(session, job, error)


def set_verdicts(session: Session, job: Job, verdicts: Sequence[NewVerdict]) -> None:
    """These are the job's verdicts, and no others."""
    session.execute(delete(WeightsVerdict).where(WeightsVerdict.job_id == job.id))
    session.add_all(
        WeightsVerdict(job_id=job.id, project_id=job.project_id, **asdict(one)) for one in verdicts
    )
    session.flush()


def reject_subject(
    session: Session, job: Job, error: dict[str, Any], scanners: Sequence[Mapping[str, Any]] = ()
) -> None:
    """Reject what an inspect or validate job was about, unless that is decided already."""
    subject = _undecided_subject(session, job)
    if subject is None:
        return
    subject.error = _for_customers(error)
    if isinstance(subject, Checkpoint):
        subject.state = CheckpointState.REJECTED
        subject.inspection = {"scanners": list(scanners)} if scanners else None
        tell_of_checkpoint(session, subject)
    else:
        subject.state = DatasetState.REJECTED
        tell_of_dataset(session, subject)
    session.flush()


def leave_undecided(session: Session, job: Job, error: dict[str, Any] | None) -> bool:
    """Note on what an inspect or validate job was about why nobody decided on it; None: it is tried again.

    Returns False where the job decides on nothing, or all is decided already.
    """
    subject = _undecided_subject(session, job)
    if subject is None:
        return False
    subject.error = None if error is None else _for_customers(error)
    session.flush()
    return True


def _for_customers(error: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in error.items() if name != "log_tail"}


def _undecided_subject(session: Session, job: Job) -> Checkpoint | Dataset | None:
    """What an inspect or validate job is to decide on, locked."""
    if job.kind in PUBLIC_KINDS:
        return None
    if job.checkpoint_id:
        checkpoint = lock_row(session, Checkpoint, job.checkpoint_id)
        if checkpoint.state in {CheckpointState.QUARANTINED, CheckpointState.SCANNING}:
            return checkpoint
    if job.dataset_id:
        dataset = lock_row(session, Dataset, job.dataset_id)
        if dataset.state is DatasetState.VALIDATING:
            return dataset
    return None


def lock_row(session: Session, model: type[Subject], id: str) -> Subject:  # noqa: A002
    """That row, locked, as it is now."""
    query = select(model).where(model.id == id).with_for_update().execution_options(populate_existing=True)
    return session.scalars(query).one()
