"""Audit entries: who changed what, when and from where. Rows are only ever added."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import ForeignKey, Index, func
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base, word_of


class TrailOutcome(StrEnum):
    DONE = "done"
    REFUSED = "refused"


class TrailEntry(Base):
    __tablename__ = "trail_entries"
    __table_args__ = (Index("ix_trail_entries_project_id_id", "project_id", "id"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    key_id: Mapped[str | None]
    """Who: the key of the request. None: `actor` did it."""
    actor: Mapped[str | None]
    """Who, where it was no request: the operator's account on the machine, or a part of the service."""
    action: Mapped[str]
    target_id: Mapped[str | None]
    outcome: Mapped[TrailOutcome] = mapped_column(
        word_of(TrailOutcome, "outcome"), server_default=TrailOutcome.DONE.value
    )
    reason: Mapped[str | None]
    """The code of the refusal."""
    request_id: Mapped[str | None]
    remote_addr: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
