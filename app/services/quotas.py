"""Quotas: what a project may use, and the refusal of what would be more. Counting is race-safe.

Whatever puts a job into the queue needs a place there: a new job, one that is resumed or retried, a dataset
for its validation, an upload for its inspection. Running jobs are not refused but wait: their quota is held
where a worker claims (app.db.repositories.claims). The request rate is counted before any of this
(app.live.request_rates).
"""

from collections.abc import Mapping

from app.db.models.job import Job
from app.db.unit_of_work import UnitOfWork
from app.domain.errors import QuotaExceeded
from app.domain.quotas import QuotaLimits, QuotaName, QuotaUse, Usage
from app.domain.states import JobState
from app.settings import QuotaSettings

_TRY_AGAIN_AFTER_S = 60
_PLACE = (QuotaName.WAITING_JOBS, QuotaName.ROW_BYTES)
_OF_UPLOADS = (QuotaName.OPEN_UPLOADS, QuotaName.ROW_BYTES, QuotaName.BYTES_IN_FLIGHT, QuotaName.STORED_BYTES)
_Used = Mapping[QuotaName, int]


def limits_of(unit: UnitOfWork, project_id: str, defaults: QuotaSettings) -> QuotaLimits:
    """The project's own limits where an operator set them, else the defaults."""
    return _standing(unit, project_id, defaults)[0]


def usage_of(unit: UnitOfWork, project_id: str, defaults: QuotaSettings) -> Usage:
    """As it is at this moment."""
    counted = (name for name in QuotaName if name is not QuotaName.REQUESTS_PER_MINUTE)
    limits, used = _standing(unit, project_id, defaults, *counted)
    return Usage(limits=limits, **{name.value: number for name, number in used.items()})


def check_new_job(unit: UnitOfWork, project_id: str, defaults: QuotaSettings) -> None:
    """Raise QuotaExceeded unless one more may be ordered; holds the place until the transaction ends."""
    limits, used = _held(unit, project_id, defaults, *_PLACE, QuotaName.STORED_BYTES)
    _check_place(limits, used)
    if used[QuotaName.STORED_BYTES] >= limits.stored_bytes:
        raise _full(limits.stored_bytes, used[QuotaName.STORED_BYTES], 0)


def check_place(unit: UnitOfWork, project_id: str, defaults: QuotaSettings) -> None:
    """Raise QuotaExceeded unless one more job may wait and the database may keep more of the project; holds
    the place until the transaction ends."""
    _check_place(*_held(unit, project_id, defaults, *_PLACE))


def _check_place(limits: QuotaLimits, used: _Used) -> None:
    _check_waiting(used[QuotaName.WAITING_JOBS], limits)
    _check_rows(used[QuotaName.ROW_BYTES], limits)


def _held(
    unit: UnitOfWork, project_id: str, defaults: QuotaSettings, *names: QuotaName
) -> tuple[QuotaLimits, _Used]:
    """As `_standing`; nobody else counts for the project until the transaction ends."""
    unit.quotas.hold(project_id)
    return _standing(unit, project_id, defaults, *names)


def _standing(
    unit: UnitOfWork, project_id: str, defaults: QuotaSettings, *names: QuotaName
) -> tuple[QuotaLimits, _Used]:
    """The project's limits, and what it uses of `names`: read by one statement."""
    own, used = unit.quotas.standing(project_id, *names)
    limits = {
        name.value: int(getattr(defaults, name)) if limit is None else limit for name, limit in own.items()
    }
    return QuotaLimits(**limits), used


def _check_rows(current: int, limits: QuotaLimits) -> None:
    if current >= limits.row_bytes:
        raise QuotaExceeded(
            "quota_exceeded",
            f"The project's jobs, datasets, checkpoints and uploads take {current} bytes of the database;"
            f" the limit is {limits.row_bytes}.",
            "Delete jobs and datasets that are not needed any more; the operator can give the project more.",
            quota=QuotaUse(name=QuotaName.ROW_BYTES, limit=limits.row_bytes, current=current),
        )


def _check_open(current: int, limits: QuotaLimits) -> None:
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
        limits, used = _standing(unit, project_id, defaults, QuotaName.WAITING_JOBS)
        _check_waiting(used[QuotaName.WAITING_JOBS] - 1, limits)


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
    limits, used = _held(unit, project_id, defaults, *_OF_UPLOADS)
    _check_open(used[QuotaName.OPEN_UPLOADS], limits)
    _check_rows(used[QuotaName.ROW_BYTES], limits)
    in_flight = used[QuotaName.BYTES_IN_FLIGHT]
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
    stored = used[QuotaName.STORED_BYTES] + in_flight
    if stored + size_bytes > limits.stored_bytes:
        raise _full(limits.stored_bytes, stored, size_bytes)


def _full(limit: int, stored: int, wanted: int) -> QuotaExceeded:
    return QuotaExceeded(
        "quota_exceeded",
        f"The project stores {stored} bytes, open uploads included; the limit is {limit}.",
        "Delete what is not needed any more; the operator can give the project more.",
        quota=QuotaUse(name=QuotaName.STORED_BYTES, limit=limit, current=stored, wanted=wanted),
    )
