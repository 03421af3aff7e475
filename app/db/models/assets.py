"""What a project keeps: uploads, checkpoints, datasets, verdicts on weights, deletions; and operators' nulls.

A checkpoint is in quarantine until an inspect job has read it; a validate job pins a dataset by digest.
A verdict stands by the digest of the weights, so whoever uploads the same weights again finds it; the audit
before a cleaning has a row of its own. A deletion outlives what it names. A null belongs to no project and
never changes.
"""

from datetime import datetime

from sqlalchemy import CheckConstraint, Computed, Double, ForeignKey, Index, func, select, text
from sqlalchemy.orm import Mapped, column_property, mapped_column

from app.db.base import Base, JsonList, JsonObject, word_of
from app.db.models.job import Job
from app.domain.deletions import DeletionReason, DeletionSubject
from app.domain.states import CheckpointState, DatasetKind, DatasetState, JobState, UploadPurpose, UploadState
from app.domain.verdicts import VerdictOutcome, VerdictStage
from cleanclip.vocabulary.verdicts import AGAINST


class Upload(Base):
    __tablename__ = "uploads"
    __table_args__ = (
        Index("ix_uploads_project_id_id", "project_id", "id"),
        Index(
            "ix_uploads_unfinished", "expires_at", postgresql_where=text("state IN ('open', 'completing')")
        ),
        Index(
            "ix_uploads_abandoned",
            "id",
            postgresql_where=text("state IN ('cancelled', 'expired') AND store_upload_id IS NOT NULL"),
        ),
        CheckConstraint("object_key = 'uploads/' || project_id || '/' || id", name="object_key"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    purpose: Mapped[UploadPurpose] = mapped_column(word_of(UploadPurpose, "purpose"))
    filename: Mapped[str]
    size_bytes: Mapped[int]
    declared_sha256: Mapped[str | None]
    declared: Mapped[JsonObject]
    part_size_bytes: Mapped[int]
    num_parts: Mapped[int]
    object_key: Mapped[str]
    store_upload_id: Mapped[str | None]
    """The object store's name for the multipart upload."""
    state: Mapped[UploadState] = mapped_column(word_of(UploadState, "state"), default=UploadState.OPEN)
    checkpoint_id: Mapped[str | None]
    """What became of it. No foreign key: the checkpoint has one that points here."""
    expires_at: Mapped[datetime]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    completed_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]


class Checkpoint(Base):
    __tablename__ = "checkpoints"
    __table_args__ = (
        Index("ix_checkpoints_project_id_id", "project_id", "id"),
        Index(
            "ix_checkpoints_with_needless_objects",
            "updated_at",
            postgresql_where=text(
                "(state = 'rejected' AND upload_object_key IS NOT NULL) OR (deleted_at IS NOT NULL "
                "AND (upload_object_key IS NOT NULL OR canonical_prefix IS NOT NULL))"
            ),
        ),
        CheckConstraint(
            "upload_object_key = 'uploads/' || project_id || '/' || upload_id", name="upload_object_key"
        ),
        CheckConstraint(
            "starts_with(canonical_prefix, 'checkpoints/' || project_id || '/' || id || '/')",
            name="canonical_prefix",
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    upload_id: Mapped[str] = mapped_column(ForeignKey("uploads.id"), unique=True)
    filename: Mapped[str]
    size_bytes: Mapped[int]
    sha256: Mapped[str | None]
    """Of the bytes that came in, computed by us while they were inspected."""
    state: Mapped[CheckpointState] = mapped_column(
        word_of(CheckpointState, "state"), default=CheckpointState.QUARANTINED
    )
    declared: Mapped[JsonObject]
    upload_object_key: Mapped[str | None]
    """None once the bytes have been deleted (rejected, or deleted by their owner)."""
    canonical_prefix: Mapped[str | None]
    """Where model.safetensors and config.json lie; None until accepted and after deletion."""
    weights_sha256: Mapped[str | None]
    source: Mapped[JsonObject | None]
    """Of one that the service fetches: where from ("ordered"), what it was found to be, and when; see
    `worker.fetching.sources`. `size_bytes` is the most that it may be until "fetched_at" is there."""
    inspection: Mapped[JsonObject | None]
    error: Mapped[JsonObject | None]
    inspect_job_id: Mapped[str | None]
    deleted_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now())


class Dataset(Base):
    __tablename__ = "datasets"
    __table_args__ = (
        Index("ix_datasets_project_id_id", "project_id", "id"),
        CheckConstraint(
            "NOT jsonb_path_exists(files, '$[*] ? (@.bucket == null && @.key != $key)',"
            " jsonb_object(ARRAY['key', 'uploads/' || project_id || '/' || upload_id]))",
            name="files",
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    name: Mapped[str | None]
    """For people; whoever registered it may have given none."""
    kind: Mapped[DatasetKind] = mapped_column(word_of(DatasetKind, "kind"))
    uri: Mapped[str | None]
    upload_id: Mapped[str | None] = mapped_column(ForeignKey("uploads.id"))
    class_names: Mapped[JsonList | None]
    templates: Mapped[JsonList | None]
    max_skipped_share: Mapped[float] = mapped_column(Double())
    state: Mapped[DatasetState] = mapped_column(
        word_of(DatasetState, "state"), default=DatasetState.VALIDATING
    )
    files: Mapped[JsonList | None]
    """Pinned by the validate job: [{"uri" | "key", "size_bytes", "etag", "sha256"}]."""
    summary: Mapped[JsonObject | None]
    error: Mapped[JsonObject | None]
    validate_job_id: Mapped[str | None]
    deleted_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now())


_JOBS = Job.__table__.alias("its_job")  # another than that of a query which joins jobs


class WeightsVerdict(Base):
    __tablename__ = "verdicts"
    __table_args__ = (
        Index("ix_verdicts_worst_first", "project_id", "weights_sha256", "badness", "job_id", "stage"),
    )

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    stage: Mapped[VerdictStage] = mapped_column(word_of(VerdictStage, "stage"), primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    weights_sha256: Mapped[str]
    """Of the canonical safetensors file, as the supervisor read or wrote it."""
    outcome: Mapped[VerdictOutcome] = mapped_column(word_of(VerdictOutcome, "outcome"))
    badness: Mapped[int] = mapped_column(
        Computed(
            "CASE outcome WHEN 'fail' THEN 4 WHEN 'controlled' THEN 3 WHEN 'undecided' THEN 2"
            " WHEN 'inconclusive' THEN 1 ELSE 0 END",
            persisted=True,
        )
    )
    num_triggers: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())

    is_preliminary: Mapped[bool] = column_property(
        select(_JOBS.c.state != JobState.SUCCEEDED)
        .where(_JOBS.c.id == job_id)
        .correlate_except(_JOBS)
        .scalar_subquery()
    )
    """Measured before cleaning, by a job that has not succeeded: not signed, confirmed by no second audit."""

    @property
    def has_found(self) -> bool:
        """Whether it speaks against the weights."""
        return self.outcome in AGAINST


class Deletion(Base):
    __tablename__ = "deletions"
    __table_args__ = (
        Index("ix_deletions_project_id_id", "project_id", "id"),
        Index("ix_deletions_subject_id", "subject_id"),
        Index("ix_deletions_unfinished", "id", postgresql_where=text("finished_at IS NULL")),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    subject: Mapped[DeletionSubject] = mapped_column(word_of(DeletionSubject, "subject"))
    subject_id: Mapped[str]
    reason: Mapped[DeletionReason] = mapped_column(word_of(DeletionReason, "reason"))
    key_id: Mapped[str | None]
    """The key that asked; None for an operator and for the retention setting."""
    request_id: Mapped[str | None]
    requested_at: Mapped[datetime] = mapped_column(server_default=func.now())
    not_before: Mapped[datetime | None]
    """The sweeper found that it must wait, or had no more time for it, and comes back from then on."""
    counted_at: Mapped[datetime | None]
    """When what follows was counted: before the first object went, so that a crash loses no figure."""
    num_objects: Mapped[int | None]
    num_bytes: Mapped[int | None]
    digests: Mapped[JsonList | None]
    """[{"name", "sha256", "size_bytes"}] of those objects whose digest was known."""
    finished_at: Mapped[datetime | None]


class NullSet(Base):
    __tablename__ = "null_sets"
    __table_args__ = (CheckConstraint("object_key = 'nulls/' || id || '.json'", name="object_key"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    """An order names it so."""
    sha256: Mapped[str]
    """Of the file, byte for byte."""
    size_bytes: Mapped[int]
    object_key: Mapped[str]
    num_models: Mapped[int]
    facts: Mapped[JsonObject]
    """What a scan must share with it: see `app.services.nulls.facts_of`."""
    added_by: Mapped[str]
    """The operator's account."""
    signing_key_sha256: Mapped[str | None]
    """Id of the key that vouches for the file. None: no signature was checked."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
