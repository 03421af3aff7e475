"""The audit trail: rows are added, never changed."""

from __future__ import annotations

from sqlalchemy.orm import Session

from app.db.models.audit_entry import AuditEntry
from app.domain.ids import new_id


class AuditRepository:
    def __init__(self, session: Session) -> None:
        self._session = session

    def add(
        self,
        *,
        project_id: str,
        key_id: str | None,
        action: str,
        target_id: str | None = None,
        request_id: str | None = None,
        remote_addr: str | None = None,
    ) -> AuditEntry:
        row = AuditEntry(
            id=new_id("aud"),
            project_id=project_id,
            key_id=key_id,
            action=action,
            target_id=target_id,
            request_id=request_id,
            remote_addr=remote_addr,
        )
        self._session.add(row)
        self._session.flush()
        return row
