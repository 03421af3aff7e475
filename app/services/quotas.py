"""Quotas: what a project may use, and the refusal of what would be more. Counting is race-safe.

Whatever puts a job into the queue needs a place there: a new job, one that is resumed or retried, a dataset
for its validation, an upload for its inspection. Running jobs are not refused but wait: their quota is held
where a worker claims (app.db.repositories.claims). The request rate is counted before any of this
(app.live.request_rates).
"""

from __future__ import annotations

from app.db.models.job import Job
from app.db.unit_of_work import UnitOfWork
from app.domain.errors import QuotaExceeded
from app.domain.quotas import QuotaLimits, QuotaName, QuotaUse, Usage
from app.domain.states import JobState
from app.settings import QuotaSettings

_TRY_AGAIN_AFTER_S = 60


def limits_of(unit: UnitOfWork, project_id: str, defaults: QuotaSettings) -> QuotaLimits:
    """The project's own limits where an operator set them, else the defaults."""
    own = unit.quotas.of(project_id)

    def limit_of(name: QuotaName) -> int:
        given: int | None = None if own is None else getattr(own, name.value)
        return int(getattr(defaults, name.value)) if given is None else given

    return QuotaLimits(**{name.value: limit_of(name) for name in QuotaName})


def usage_of(unit: UnitOfWork, project_id: str, defaults: QuotaSettings) -> Usage:
    """As it is at this moment."""
    return Usage(
        limits=limits_of(unit, project_id, defaults),
        running_jobs=unit.quotas.num_running(project_id),
        waiting_jobs=unit.quotas.num_waiting(project_id),
        stored_bytes=unit.quotas.stored_bytes(project_id),
        bytes_in_flight=unit.quotas.bytes_in_flight(project_id),
        open_uploads=unit.quotas.num_open_uploads(project_id),
        row_bytes=unit.quotas.row_bytes(project_id),
    )


def check_new_job(unit: UnitOfWork, project_id: str, defaults: QuotaSettings) -> None:
    """Raise QuotaExceeded unless one more may be ordered; holds the place until the transaction ends."""
    check_place(unit, project_id, defaults)
    limits = limits_of(unit, project_id, defaults)
    stored = unit.quotas.stored_bytes(project_id)
    if stored >= limits.stored_bytes:
        raise _full(limits.stored_bytes, stored, 0)


def check_place(unit: UnitOfWork, project_id: str, defaults: QuotaSettings) -> None:
    """Raise QuotaExceeded unless one more job may wait and the database may keep more of the project; holds
    the place until the transaction ends."""
    unit.quotas.hold(project_id)
    limits = limits_of(unit, project_id, defaults)
    _check_waiting(unit.quotas.num_waiting(project_id), limits)
    _check_rows(unit, project_id, limits)


def _check_rows(unit: UnitOfWork, project_id: str, limits: QuotaLimits) -> None:
    current = unit.quotas.row_bytes(project_id)
    if current >= limits.row_bytes:
        raise QuotaExceeded(
            "quota_exceeded",
            f"The project's jobs, datasets, checkpoints and uploads take {current} bytes of the database;"
            f" the limit is {limits.row_bytes}.",
            "Delete jobs and datasets that are not needed any more; the operator can give the project more.",
            quota=QuotaUse(name=QuotaName.ROW_BYTES, limit=limits.row_bytes, current=current),
        )


def _check_open(unit: UnitOfWork, project_id: str, limits: QuotaLimits) -> None:
    current = unit.quotas.num_open_uploads(project_id)
    if current >= limits.open_uploads:
        raise QuotaExceeded(
            "quota_exceeded",
            f"{current} uploads of the project are open; the limit is {limits.open_uploads}.",
            "Complete or cancel open uploads first; the operator can give the project more.",
            retry_after_s=_TRY_AGAIN_AFTER_S,
            quota=QuotaUse(name=QuotaName.OPEN_UPLOADS, limit=limits.open_uploads, current=current),
        )


def check_queued(unit: UnitOfWork, project_id: str, defaults: QuotaSettings, job: Job | None) -> None:
    """As `check_place`, after what may have queued the job; `unit.quotas.hold` came before it."""
    if job is not None and job.state is JobState.QUEUED:
        _check_waiting(unit.quotas.num_waiting(project_id) - 1, limits_of(unit, project_id, defaults))


def _check_waiting(current: int, limits: QuotaLimits) -> None:
    if current >= limits.waiting_jobs:
        raise QuotaExceeded(
            "quota_exceeded",
            f"{current} {'job of the project waits' if current == 1 else 'jobs of the project wait'} "
            f"already; the limit is {limits.waiting_jobs}.",
            "Wait until some have started, or cancel some; the operator can give the project more.",
            retry_after_s=_TRY_AGAIN_AFTER_S,
            quota=QuotaUse(name=QuotaName.WAITING_JOBS, limit=limits.waiting_jobs, current=current),
        )


def check_new_upload(unit: UnitOfWork, project_id: str, size_bytes: int, defaults: QuotaSettings) -> None:
    """Raise QuotaExceeded unless one more upload may be open, and so many more bytes may come and be kept;
    holds them as `check_new_job`."""
    unit.quotas.hold(project_id)
    limits = limits_of(unit, project_id, defaults)
    _check_open(unit, project_id, limits)
    _check_rows(unit, project_id, limits)
    in_flight = unit.quotas.bytes_in_flight(project_id)
    if in_flight + size_bytes > limits.bytes_in_flight:
        use = QuotaUse(
            name=QuotaName.BYTES_IN_FLIGHT, limit=limits.bytes_in_flight, current=in_flight, wanted=size_bytes
        )
        raise QuotaExceeded(
            "quota_exceeded",
            f"Open uploads of the project have {in_flight} bytes together, this one "
            f"{size_bytes} more; the limit is {limits.bytes_in_flight}.",
            "Complete or cancel open uploads first; the operator can give the project more.",
            retry_after_s=_TRY_AGAIN_AFTER_S if size_bytes <= limits.bytes_in_flight else None,
            quota=use,
        )
    stored = unit.quotas.stored_bytes(project_id) + in_flight
    if stored + size_bytes > limits.stored_bytes:
        raise _full(limits.stored_bytes, stored, size_bytes)


def _full(limit: int, stored: int, wanted: int) -> QuotaExceeded:
    return QuotaExceeded(
        "quota_exceeded",
        f"The project stores {stored} bytes, open uploads included; the limit is {limit}.",
        "Delete what is not needed any more; the operator can give the project more.",
        quota=QuotaUse(name=QuotaName.STORED_BYTES, limit=limit, current=stored, wanted=wanted),
    )
