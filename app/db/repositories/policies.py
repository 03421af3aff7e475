"""Policies kept by name, as requests see them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select

from app.db.models.policy import Policy
from app.db.repositories.base import Repository
from app.db.repositories.pages import page_of
from app.domain.errors import NotFound


class PolicyRepository(Repository):
    def find(self, project_id: str, name: str, *, for_update: bool = False) -> Policy | None:
        """The row of that name, locked until the end of the transaction with `for_update`."""
        query = select(Policy).where(Policy.project_id == project_id, Policy.name == name)
        if for_update:
            query = query.with_for_update().execution_options(populate_existing=True)
        return self._session.scalars(query).one_or_none()

    def get(self, project_id: str, name: str, *, for_update: bool = False) -> Policy:
        """Raises NotFound."""
        row = self.find(project_id, name, for_update=for_update)
        if row is None:
            raise NotFound(
                "policy_not_found",
                f"There is no policy {name!r} in this project.",
                "List the project's policies, and check that the key belongs to the project.",
            )
        return row

    def page(self, project_id: str, after: str | None, limit: int) -> tuple[Sequence[Policy], bool]:
        """Newest first; `after` is the id of the last row of the page before."""
        return page_of(self._session, Policy, project_id, after, limit)

    def count(self, project_id: str) -> int:
        query = select(func.count()).select_from(Policy).where(Policy.project_id == project_id)
        return int(self._session.scalar(query) or 0)

    def add(self, row: Policy) -> Policy:
        self._session.add(row)
        self._session.flush()
        return row

    def change(self, row: Policy, content: dict[str, Any]) -> Policy:
        """The row is locked."""
        row.content = content
        self._session.flush()
        return row

    def remove(self, row: Policy) -> None:
        self._session.delete(row)
        self._session.flush()
