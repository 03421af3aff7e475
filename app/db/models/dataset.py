"""Datasets: references to shards, pinned by digest once a validate job has read them."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, Double, ForeignKey, Index, func
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base, JsonList, JsonObject, word_of
from app.domain.states import DatasetKind, DatasetState


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
