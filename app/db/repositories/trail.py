"""The trail: rows are added, never changed."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select

from app.db.models.project import TrailEntry, TrailOutcome
from app.db.repositories.base import Repository, hold
from app.db.repositories.pages import page_of
from app.domain.ids import lowest_id, new_id

_REFUSAL_LOCK = 7_263_005


class TrailRepository(Repository):
    def add(
        self,
        *,
        project_id: str,
        key_id: str | None = None,
        actor: str | None = None,
        action: str,
        target_id: str | None = None,
        reason: str | None = None,
        request_id: str | None = None,
        remote_addr: str | None = None,
    ) -> TrailEntry:
        """A row of what was done, or with `reason` of what was refused."""
        row = TrailEntry(
            id=new_id("trl"),
            project_id=project_id,
            key_id=key_id,
            actor=actor,
            action=action,
            target_id=target_id,
            outcome=TrailOutcome.DONE if reason is None else TrailOutcome.REFUSED,
            reason=reason,
            request_id=request_id,
            remote_addr=remote_addr,
        )
        self._session.add(row)
        self._session.flush()
        return row

    def was_refused(self, project_id: str, *, key_id: str, action: str, reason: str, since: datetime) -> bool:
        """Whether a row says so already. Two who ask at once for one key ask one after the other."""
        hold(self._session, _REFUSAL_LOCK, key_id)
        query = select(TrailEntry.id).where(
            TrailEntry.project_id == project_id,
            TrailEntry.id >= lowest_id("trl", since.timestamp()),  # by the index of pages
            TrailEntry.key_id == key_id,
            TrailEntry.action == action,
            TrailEntry.reason == reason,
        )
        return self._session.scalars(query.limit(1)).first() is not None

    def page(
        self,
        project_id: str,
        after: str | None,
        limit: int,
        *,
        action: str | None = None,
        target_id: str | None = None,
        key_id: str | None = None,
        outcome: TrailOutcome | None = None,
    ) -> tuple[Sequence[TrailEntry], bool]:
        """Newest first; `after` is the id of the last row of the page before."""
        wanted = (
            (TrailEntry.action, action),
            (TrailEntry.target_id, target_id),
            (TrailEntry.key_id, key_id),
            (TrailEntry.outcome, outcome),
        )
        conditions = [column == value for column, value in wanted if value is not None]
        return page_of(self._session, TrailEntry, project_id, after, limit, *conditions)
