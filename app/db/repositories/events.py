"""Job events, as requests see them: in order, without a gap."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db.models.job_event import JobEvent


class EventRepository:
    def __init__(self, session: Session) -> None:
        self._session = session

    def page(
        self, project_id: str, job_id: str, after: int | None, limit: int
    ) -> tuple[Sequence[JobEvent], bool]:
        """Oldest first, those with a number greater than `after`."""
        query = (
            select(JobEvent)
            .where(JobEvent.project_id == project_id, JobEvent.job_id == job_id, JobEvent.seq > (after or 0))
            .order_by(JobEvent.seq)
            .limit(limit + 1)
        )
        rows = self._session.scalars(query).all()
        return rows[:limit], len(rows) > limit
