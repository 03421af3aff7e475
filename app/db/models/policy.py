"""Policies that a project keeps by name. Jobs copy what they are ordered with; none refers to a row here."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, UniqueConstraint, func
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base, JsonObject


class Policy(Base):
    __tablename__ = "policies"
    __table_args__ = (
        UniqueConstraint("project_id", "name"),
        Index("ix_policies_project_id_id", "project_id", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    """For lists and the trail; requests use the name."""
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    name: Mapped[str]
    content: Mapped[JsonObject]
    """The limits, as the library's `Policy` reads them."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.clock_timestamp())
