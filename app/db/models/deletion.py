"""Deletions: what was to be deleted, who asked, and at the end the receipt. Outlives what it names."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base, JsonList, word_of
from app.domain.deletions import DeletionReason, DeletionSubject


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
