"""Job events, as requests see them: in order, without a gap."""

from __future__ import annotations

from collections.abc import Sequence

from app.db.models.job_event import JobEvent
from app.db.repositories.base import Repository
from app.db.repositories.pages import row_of, values_of


class EventRepository(Repository):
    def page(
        self, project_id: str, job_id: str, after: int | None, limit: int
    ) -> tuple[Sequence[JobEvent], bool]:
        """Oldest first, those with a number greater than `after`."""
        conditions = (
            JobEvent.project_id == project_id,
            JobEvent.job_id == job_id,
            JobEvent.seq > (after or 0),
        )
        found, has_more = values_of(self._session, JobEvent, conditions, limit, by="seq", is_ascending=True)
        return [row_of(JobEvent, values) for values in found], has_more
