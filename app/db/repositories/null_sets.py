"""Nulls, the same for every project: read by requests and workers, added by operators."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from app.db.models.null_set import NullSet
from app.db.repositories.base import Repository
from app.db.repositories.pages import row_of, values_of
from app.domain.errors import NotFound


class NullSetRepository(Repository):
    def add(self, row: NullSet) -> NullSet:
        self._session.add(row)
        self._session.flush()
        return row

    def remove(self, row: NullSet) -> None:
        self._session.delete(row)
        self._session.flush()

    def get(self, id: str) -> NullSet:  # noqa: A002
        """Raises NotFound."""
        row = self.find_by_id(id)
        if row is None:
            raise _not_found(id)
        return row

    def find_by_id(self, id: str) -> NullSet | None:  # noqa: A002
        return self._session.get(NullSet, id)

    def find(self, name: str) -> NullSet | None:
        return self._session.scalars(select(NullSet).where(NullSet.name == name)).one_or_none()

    def named(self, name: str) -> NullSet:
        """Raises NotFound."""
        row = self.find(name)
        if row is None:
            raise _not_found(name)
        return row

    def all(self) -> Sequence[NullSet]:
        """Newest first. Operators add few."""
        return self._session.scalars(select(NullSet).order_by(NullSet.id.desc())).all()

    def page(self, after: str | None, limit: int) -> tuple[Sequence[NullSet], bool]:
        """Newest first, and whether there are more; `after` is the id of the last row of the page before."""
        conditions = [] if after is None else [NullSet.id < after]
        found, has_more = values_of(self._session, NullSet, conditions, limit)
        return [row_of(NullSet, values) for values in found], has_more


def _not_found(named: str) -> NotFound:
    return NotFound(
        "null_not_found",
        f"There is no null {named[:64]!r}.",
        "GET /v1/nulls lists those that this service has; its operators add them.",
    )
