"""The outbox: written with what it announces, read by the sweeper, which tells others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select, update

from app.db.models.outbox_message import OutboxMessage
from app.db.repositories.base import Repository


class OutboxRepository(Repository):
    def add(self, project_id: str, topic: str, payload: dict[str, Any]) -> OutboxMessage:
        row = OutboxMessage(project_id=project_id, topic=topic, payload=payload)
        self._session.add(row)
        self._session.flush()
        return row

    def pending(self, limit: int) -> Sequence[OutboxMessage]:
        """Unpublished messages, oldest first. One reader at a time: the sweeper, which holds a lock."""
        query = (
            select(OutboxMessage)
            .where(OutboxMessage.published_at.is_(None))
            .order_by(OutboxMessage.id)
            .limit(limit)
        )
        return self._session.scalars(query).all()

    def mark(self, message_ids: Sequence[int], *, published: bool) -> None:
        """Note a try for each, and with `published` that it was the last."""
        values: dict[str, Any] = {"num_tries": OutboxMessage.num_tries + 1}
        if published:
            values["published_at"] = func.now()
        self._session.execute(
            update(OutboxMessage)
            .where(OutboxMessage.id.in_(message_ids))
            .values(values)
            .execution_options(synchronize_session=False)
        )
