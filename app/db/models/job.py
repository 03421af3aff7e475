"""Jobs: the queue of record, with their events, messages, turns and artifacts.

`attempt` is the fencing token; only the database's clock decides a lease. Events are numbered without a gap
and only ever added. The outbox holds what must be sent, written in the transaction that made it true.
"""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    ColumnElement,
    ForeignKey,
    Identity,
    Index,
    UniqueConstraint,
    func,
    literal_column,
    or_,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base, JsonList, JsonObject, word_of
from app.domain.states import JobKind, JobPhase, JobState

LOSS_CURVE = "loss_curve"
"""In the progress of a job that trained: [[step, loss], …], some hundred, over all attempts."""
HAS_IMAGES: ColumnElement[bool] = literal_column(
    "jsonb_path_exists(jobs.spec, '$.*.*[*].image'::jsonpath)", Boolean
)
"""A condition, which an index has: the order holds images of its attacks."""


class Job(Base):
    __tablename__ = "jobs"
    __table_args__ = (
        Index("ix_jobs_project_id_id", "project_id", "id"),
        Index(
            "ix_jobs_leased", "lease_expires_at", postgresql_where=text("state IN ('running', 'cancelling')")
        ),
        Index("ix_jobs_queued", "hinted_at", postgresql_where=text("state = 'queued'")),
        Index(
            "ix_jobs_waiting",
            "kind",
            "project_id",
            "created_at",
            "id",
            postgresql_where=text("state = 'queued'"),
        ),
        Index(
            "ix_jobs_with_images",
            "project_id",
            postgresql_where=text("jsonb_path_exists(spec, '$.*.*[*].image'::jsonpath)"),
        ),
        Index(
            "ix_jobs_unswept",
            "finished_at",
            postgresql_where=text("state IN ('succeeded', 'failed', 'cancelled') AND swept_at IS NULL"),
        ),
        CheckConstraint("attempts_used >= 0 AND attempts_used <= attempt", name="attempts_used"),
        CheckConstraint("max_attempts >= 1", name="max_attempts"),
        CheckConstraint(
            "starts_with(resume_state ->> 'prefix', 'states/' || project_id || '/' || id || '/') AND "
            "starts_with(resume_state #>> '{previous,prefix}', 'states/' || project_id || '/' || id || '/')",
            name="resume_state",
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    name: Mapped[str | None]
    """For people; whoever ordered it may have given none."""
    kind: Mapped[JobKind] = mapped_column(word_of(JobKind, "kind"))
    state: Mapped[JobState] = mapped_column(word_of(JobState, "state"), default=JobState.QUEUED)
    phase: Mapped[JobPhase | None] = mapped_column(word_of(JobPhase, "phase"))
    phases: Mapped[JsonList]
    """[{"name", "state": pending | running | succeeded, "started_at", "finished_at"}], in order."""
    progress: Mapped[JsonObject]
    """{"fraction", "step", "total_steps", "eta_s", "message", "rate", "rate_unit", "loss", "loss_curve"}."""

    checkpoint_id: Mapped[str | None] = mapped_column(ForeignKey("checkpoints.id"), index=True)
    anchor_checkpoint_id: Mapped[str | None] = mapped_column(ForeignKey("checkpoints.id"), index=True)
    """A second checkpoint, which is trusted."""
    dataset_id: Mapped[str | None] = mapped_column(ForeignKey("datasets.id"), index=True)
    """What a sanitize job trains on; what a vet or a validate job looks at."""
    labelled_dataset_id: Mapped[str | None] = mapped_column(ForeignKey("datasets.id"), index=True)
    retrieval_dataset_id: Mapped[str | None] = mapped_column(ForeignKey("datasets.id"), index=True)
    """Pairs that the audits measure retrieval on, where there are any."""
    trusted_dataset_id: Mapped[str | None] = mapped_column(ForeignKey("datasets.id"), index=True)
    """Samples that a vet job compares with."""
    spec: Mapped[JsonObject]
    """{"recipe", "recipe_given", "audit", "scan_section", "policy", "policy_source", "output_layout",
    "exclude", "scan", "null", "vet", "data_kind", "requested_by"}: those of its kind; empty for the jobs of
    the service itself."""
    seed: Mapped[int] = mapped_column(default=0)
    job_metadata: Mapped[JsonObject] = mapped_column("metadata", default=dict)
    """The column is `metadata`; SQLAlchemy keeps that name of an attribute for itself."""

    attempt: Mapped[int] = mapped_column(default=0)
    """How often the job was claimed: the fencing token, which only grows."""
    attempts_used: Mapped[int] = mapped_column(default=0)
    """Claims that count against `max_attempts`: hand-backs, pauses and operators' faults give one back."""
    attempts_lost: Mapped[int] = mapped_column(default=0)
    """Attempts that ended by a fault of the operator's: a lost worker, a full disk, a store that is away."""
    max_attempts: Mapped[int]
    lease_owner: Mapped[str | None]
    lease_expires_at: Mapped[datetime | None]
    not_before: Mapped[datetime | None]
    """A failed attempt is not repeated before this time."""
    cancel_requested_at: Mapped[datetime | None]
    pause_requested_at: Mapped[datetime | None]
    hinted_at: Mapped[datetime | None]
    resume_state: Mapped[JsonObject | None]
    """The newest durable training state: {"prefix", "step", "files": [{"name", "sha256", "size_bytes"}]}."""

    result: Mapped[JsonObject | None]
    error: Mapped[JsonObject | None]
    version: Mapped[int] = mapped_column(default=1)
    """Grows with every visible change; the ETag is made from it."""
    event_seq: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now())
    swept_at: Mapped[datetime | None]
    """When the sweeper removed what losing attempts left in the object store."""
    deleted_at: Mapped[datetime | None]
    """Deletion was asked for: nobody finds the job any more, and the sweeper removes it."""

    @property
    def checkpoint_ids(self) -> set[str]:
        """Of every checkpoint that it reads."""
        return set(self.named(CHECKPOINT_COLUMNS).values())

    @property
    def dataset_ids(self) -> set[str]:
        """Of every dataset that it reads."""
        return set(self.named(DATASET_COLUMNS).values())

    def named(self, columns: Iterable[str]) -> dict[str, str]:
        """The ids in these columns, where there are any."""
        return {column: its_id for column in columns if (its_id := getattr(self, column)) is not None}

    @classmethod
    def reads_dataset(cls, dataset_id: str | ColumnElement[str] | Mapped[str]) -> ColumnElement[bool]:
        """A condition: the job reads that dataset, as whatever."""
        return or_(*(getattr(cls, column) == dataset_id for column in DATASET_COLUMNS))

    @classmethod
    def reads_checkpoint(cls, checkpoint_id: str | ColumnElement[str] | Mapped[str]) -> ColumnElement[bool]:
        """A condition: the job reads that checkpoint, as whatever."""
        return or_(*(getattr(cls, column) == checkpoint_id for column in CHECKPOINT_COLUMNS))


def _naming(table: str) -> tuple[str, ...]:
    keys = ((one.name, key.target_fullname) for one in Job.__table__.columns for key in one.foreign_keys)
    return tuple(name for name, target in keys if target == f"{table}.id")


CHECKPOINT_COLUMNS, DATASET_COLUMNS = _naming("checkpoints"), _naming("datasets")
"""Of `jobs`: each names a checkpoint, or a dataset, that the job reads."""
INPUT_COLUMNS = (*CHECKPOINT_COLUMNS, *DATASET_COLUMNS)


class JobEvent(Base):
    __tablename__ = "job_events"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    type: Mapped[str]
    data: Mapped[JsonObject]
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


JOB_READY = "job.ready"


class OutboxMessage(Base):
    __tablename__ = "outbox"
    __table_args__ = (Index("ix_outbox_unpublished", "id", postgresql_where=text("published_at IS NULL")),)

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    topic: Mapped[str]
    payload: Mapped[JsonObject]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    published_at: Mapped[datetime | None]
    num_tries: Mapped[int] = mapped_column(default=0)


class QueueTurn(Base):
    __tablename__ = "queue_turns"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    queue: Mapped[str] = mapped_column(primary_key=True)
    served_at: Mapped[datetime]
    """When a worker last claimed one of its jobs."""


class Artifact(Base):
    __tablename__ = "artifacts"
    __table_args__ = (
        UniqueConstraint("job_id", "name"),
        Index("ix_artifacts_created_at", "created_at"),
        CheckConstraint(
            "starts_with(object_key, 'outputs/' || project_id || '/' || job_id || '/') "
            "OR starts_with(object_key, 'checkpoints/' || project_id || '/')",
            name="object_key",
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), index=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"))
    attempt: Mapped[int]
    name: Mapped[str]
    object_key: Mapped[str]
    size_bytes: Mapped[int]
    sha256: Mapped[str]
    media_type: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
