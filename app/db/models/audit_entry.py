"""Audit entries: who changed what, when and from where. Rows are only ever added."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, func
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base


class AuditEntry(Base):
    __tablename__ = "audit_entries"
    __table_args__ = (Index("ix_audit_entries_project_id_id", "project_id", "id"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    key_id: Mapped[str | None]
    action: Mapped[str]
    target_id: Mapped[str | None]
    request_id: Mapped[str | None]
    remote_addr: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
