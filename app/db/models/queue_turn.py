"""When a project was last served by a queue's workers: what makes the queue fair."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base


class QueueTurn(Base):
    __tablename__ = "queue_turns"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    queue: Mapped[str] = mapped_column(primary_key=True)
    served_at: Mapped[datetime]
    """When a worker last claimed one of its jobs."""
