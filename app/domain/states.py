"""Kinds, states, phases and the moves between them that are allowed.

job         queued → running → succeeded | failed | cancelled | paused | (handed back) queued
            running → cancelling → cancelled;  paused → queued | cancelled;  failed → queued (retry)
checkpoint  quarantined → scanning → accepted | rejected
dataset    validating → ready | rejected
upload      open → completing → completed;  open → cancelled | expired
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, TypeVar

from app.domain.errors import Conflict
from cleanclip.kinds.catalogue import KINDS, PUBLIC


class JobKind(StrEnum):
    """`inspect` and `validate` are the service's own jobs on the same durable queue."""

    INSPECT = "inspect"
    VALIDATE = "validate"
    SANITIZE = "sanitize"
    AUDIT = "audit"
    SCAN = "scan"
    TEXT_SCAN = "text_scan"
    VET = "vet"


RESUMABLE_ENDINGS = frozenset(
    {
        *("paused", "handed_back", "lease_expired", "worker_lost"),
        *("store_unavailable", "store_refused", "worker_clock_wrong", "database_unavailable"),
    }
)
"""Events and error codes that end an attempt from outside: its process cannot bring any of them about. After
one of them the next attempt goes on from what this one saved; after every other ending, those that are added
later included, it begins with nothing of an earlier attempt (docs/decisions/0015)."""
RESUMABLE = frozenset(kind for kind in JobKind if KINDS[kind].is_resumable)
PUBLIC_KINDS = frozenset(JobKind(name) for name in PUBLIC)
"""The kinds that customers create and list."""


class JobState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    CANCELLING = "cancelling"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


TERMINAL = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})
ACTIVE = frozenset(JobState) - TERMINAL
LEASED = frozenset({JobState.RUNNING, JobState.CANCELLING})
"""States in which a worker holds the job."""


class JobPhase(StrEnum):
    STAGE = "stage"
    INSPECT = "inspect"
    VALIDATE = "validate"
    BASELINE_AUDIT = "baseline_audit"
    FINETUNE = "finetune"
    FINAL_AUDIT = "final_audit"
    REBOUND = "rebound"
    SCAN = "scan"
    TEXT_SCAN = "text_scan"
    VET = "vet"
    PUBLISH = "publish"


class PhaseState(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class CheckpointState(StrEnum):
    QUARANTINED = "quarantined"
    SCANNING = "scanning"
    ACCEPTED = "accepted"
    REJECTED = "rejected"


class DatasetState(StrEnum):
    VALIDATING = "validating"
    READY = "ready"
    REJECTED = "rejected"


class DatasetKind(StrEnum):
    PAIRS = "pairs"
    LABELLED = "labelled"


class UploadState(StrEnum):
    OPEN = "open"
    COMPLETING = "completing"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class UploadPurpose(StrEnum):
    CHECKPOINT = "checkpoint"
    DATASET = "dataset"


def phases_of(kind: JobKind, spec: Mapping[str, Any] | None = None) -> tuple[JobPhase, ...]:
    """The phases of a job of that kind, in order. `spec`: what was ordered; None: the parts that all have."""
    return tuple(JobPhase(one.name) for one in KINDS[kind].phases_of(spec))


JOB_TRANSITIONS: Mapping[JobState, frozenset[JobState]] = {
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.PAUSED, JobState.CANCELLED, JobState.FAILED}),
    JobState.RUNNING: frozenset(
        {
            JobState.QUEUED,
            JobState.CANCELLING,
            JobState.PAUSED,
            JobState.SUCCEEDED,
            JobState.FAILED,
            JobState.CANCELLED,
        }
    ),
    JobState.CANCELLING: frozenset({JobState.CANCELLED}),
    JobState.PAUSED: frozenset({JobState.QUEUED, JobState.CANCELLED}),
    JobState.FAILED: frozenset({JobState.QUEUED}),
    JobState.SUCCEEDED: frozenset(),
    JobState.CANCELLED: frozenset(),
}

CHECKPOINT_TRANSITIONS: Mapping[CheckpointState, frozenset[CheckpointState]] = {
    CheckpointState.QUARANTINED: frozenset({CheckpointState.SCANNING, CheckpointState.REJECTED}),
    CheckpointState.SCANNING: frozenset({CheckpointState.ACCEPTED, CheckpointState.REJECTED}),
    CheckpointState.ACCEPTED: frozenset(),
    CheckpointState.REJECTED: frozenset(),
}

DATASET_TRANSITIONS: Mapping[DatasetState, frozenset[DatasetState]] = {
    DatasetState.VALIDATING: frozenset({DatasetState.READY, DatasetState.REJECTED}),
    DatasetState.READY: frozenset(),
    DatasetState.REJECTED: frozenset(),
}

UPLOAD_TRANSITIONS: Mapping[UploadState, frozenset[UploadState]] = {
    UploadState.OPEN: frozenset({UploadState.COMPLETING, UploadState.CANCELLED, UploadState.EXPIRED}),
    UploadState.COMPLETING: frozenset(
        {UploadState.COMPLETED, UploadState.OPEN, UploadState.CANCELLED, UploadState.EXPIRED}
    ),
    UploadState.COMPLETED: frozenset({UploadState.EXPIRED}),  # shards that no dataset uses
    UploadState.CANCELLED: frozenset(),
    UploadState.EXPIRED: frozenset(),
}

S = TypeVar("S", JobState, CheckpointState, DatasetState, UploadState)

_NOUNS: Mapping[type[StrEnum], tuple[str, str]] = {
    JobState: ("job", "a job"),
    CheckpointState: ("checkpoint", "a checkpoint"),
    DatasetState: ("dataset", "a dataset"),
    UploadState: ("upload", "an upload"),
}


_TABLES: Mapping[type[StrEnum], Mapping[Any, frozenset[Any]]] = {
    JobState: JOB_TRANSITIONS,
    CheckpointState: CHECKPOINT_TRANSITIONS,
    DatasetState: DATASET_TRANSITIONS,
    UploadState: UPLOAD_TRANSITIONS,
}


def _next(state: S) -> frozenset[S]:
    following: frozenset[S] = _TABLES[type(state)][state]
    return following


def may_become(current: S, new: S) -> bool:
    """Whether the move is in the table of the thing whose state this is."""
    return new in _next(current)


def check_transition(current: S, new: S) -> None:
    """Raise Conflict (`job_state_conflict`, `upload_state_conflict`, …) unless `current` may become `new`."""
    if not may_become(current, new):
        noun, phrase = _NOUNS[type(current)]
        allowed = ", ".join(sorted(_next(current))) or "nothing: it is final"
        raise Conflict(
            f"{noun}_state_conflict",
            f"{phrase.capitalize()} that is {current} cannot become {new}.",
            f"Read it again; from {current} it can become {allowed}.",
        )
