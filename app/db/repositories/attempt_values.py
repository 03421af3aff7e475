"""What passes between a worker and its rows: plain values, so that no row outlives its transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.db.models.job import LOSS_CURVE, Job
from app.domain.states import JobKind
from app.domain.verdicts import VerdictOutcome, VerdictStage


@dataclass(frozen=True, kw_only=True)
class ClaimedJob:
    """What a worker may know of the job it holds."""

    id: str
    project_id: str
    kind: JobKind
    name: str | None = None
    attempt: int
    attempts_used: int
    max_attempts: int
    checkpoint_id: str | None
    dataset_id: str | None
    labelled_dataset_id: str | None
    retrieval_dataset_id: str | None = None
    spec: Mapping[str, Any]
    seed: int
    resume_state: Mapping[str, Any] | None
    started_at: datetime | None = None
    """When a worker took it up first, by the database's clock."""
    loss_curve: Sequence[list[float]] = ()
    """[step, loss] of earlier attempts, to go on from."""


@dataclass(frozen=True, kw_only=True)
class Heartbeat:
    """What a beat brings back."""

    cancel_requested: bool
    pause_requested: bool


@dataclass(frozen=True, kw_only=True)
class NewArtifact:
    """A file that lies in the object store and is to be published."""

    name: str
    object_key: str
    size_bytes: int
    sha256: str
    media_type: str


@dataclass(frozen=True, kw_only=True)
class NewVerdict:
    """What one of a job's audits says of the weights with that digest."""

    stage: VerdictStage
    weights_sha256: str
    outcome: VerdictOutcome
    num_triggers: int


@dataclass(frozen=True, kw_only=True)
class CheckpointAccepted:
    """What a succeeded inspect job writes on its checkpoint."""

    sha256: str
    canonical_prefix: str
    weights_sha256: str
    inspection: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class DatasetReady:
    """What a succeeded validate job writes on its dataset; `files` pins every byte it read."""

    files: list[dict[str, Any]]
    summary: dict[str, Any]


def claimed_job(job: Job) -> ClaimedJob:
    """The row of a job that was just claimed, as a value."""
    return ClaimedJob(
        id=job.id,
        project_id=job.project_id,
        kind=job.kind,
        name=job.name,
        attempt=job.attempt,
        attempts_used=job.attempts_used,
        max_attempts=job.max_attempts,
        checkpoint_id=job.checkpoint_id,
        dataset_id=job.dataset_id,
        labelled_dataset_id=job.labelled_dataset_id,
        retrieval_dataset_id=job.retrieval_dataset_id,
        spec=job.spec,
        seed=job.seed,
        resume_state=job.resume_state,
        started_at=job.started_at,
        loss_curve=job.progress.get(LOSS_CURVE, ()),
    )
