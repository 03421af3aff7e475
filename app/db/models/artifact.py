"""Artifacts: the files of the one attempt that completed its job."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, func
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base


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
