"""What passes between a worker and its rows: plain values, so that no row outlives its transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from app.db.models.job import INPUT_COLUMNS, LOSS_CURVE, Job
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
    inputs: Mapping[str, str]
    """The ids of what it reads, by the columns of its row."""
    spec: Mapping[str, Any]
    seed: int
    resume_state: Mapping[str, Any] | None
    started_at: datetime | None = None
    """When a worker took it up first, by the database's clock."""
    loss_curve: Sequence[list[float]] = ()
    """[step, loss] of earlier attempts, to go on from."""

    @property
    def checkpoint_id(self) -> str | None:
        return self.inputs.get("checkpoint_id")

    @property
    def dataset_id(self) -> str | None:
        return self.inputs.get("dataset_id")


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


def before_its_scan(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The order of a cleaning as it was before the scan that it begins with; any other order as it is."""
    scanned = spec.get("scanned")
    if scanned is None:
        return dict(spec)
    return {**spec, "audit": scanned["audit"], "scan_section": None, "scanned": None}


def claimed_job(job: Job) -> ClaimedJob:
    """The row of a job that was just claimed, as a value."""
    own = {"inputs": job.named(INPUT_COLUMNS), LOSS_CURVE: job.progress.get(LOSS_CURVE, ())}
    same = {one.name: getattr(job, one.name) for one in fields(ClaimedJob) if one.name not in own}
    return ClaimedJob(**same, **own)
