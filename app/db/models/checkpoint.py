"""Checkpoints: uploaded weights, quarantined until an inspect job has read them."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base, JsonObject, word_of
from app.domain.states import CheckpointState


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
    inspection: Mapped[JsonObject | None]
    error: Mapped[JsonObject | None]
    inspect_job_id: Mapped[str | None]
    deleted_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now())
