"""Quotas: what operators set for a project, and what it uses now."""

from __future__ import annotations

from sqlalchemy.orm import Session

from app.db.models.project_quota import ProjectQuota


class QuotaRepository:
    def __init__(self, session: Session) -> None:
        self._session = session

    def set(self, row: ProjectQuota) -> ProjectQuota:
        """Replace the project's own limits; None in it: the default."""
        merged = self._session.merge(row)
        self._session.flush()
        return merged
