"""Quotas of a project that differ from the settings' defaults. Set by an operator; None: the default."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, func
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base


class ProjectQuota(Base):
    __tablename__ = "project_quotas"
    __table_args__ = (
        CheckConstraint(
            "least(running_jobs, waiting_jobs, stored_bytes, bytes_in_flight, requests_per_minute) >= 0",
            name="not_negative",
        ),
        CheckConstraint("open_uploads >= 0", name="open_uploads"),
        CheckConstraint("row_bytes >= 0", name="row_bytes"),
    )

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    running_jobs: Mapped[int | None]
    """Per queue; held when a worker claims."""
    waiting_jobs: Mapped[int | None]
    stored_bytes: Mapped[int | None]
    bytes_in_flight: Mapped[int | None]
    """Declared sizes of open uploads, together."""
    requests_per_minute: Mapped[int | None]
    open_uploads: Mapped[int | None]
    row_bytes: Mapped[int | None]
    """What rows take in the database, as `QuotaRepository.row_bytes` counts it."""
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now())
