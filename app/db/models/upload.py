"""Uploads: a multipart upload in the object store and what it is meant to become."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base, JsonObject, word_of
from app.domain.states import UploadPurpose, UploadState


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
