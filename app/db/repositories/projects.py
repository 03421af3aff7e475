"""Projects: the only rows that are read without a project."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from app.db.models.project import Project
from app.db.repositories.base import Repository
from app.domain.errors import NotFound


class ProjectRepository(Repository):
    def add(self, row: Project) -> Project:
        self._session.add(row)
        self._session.flush()
        return row

    def get(self, id: str) -> Project:  # noqa: A002
        """Raises NotFound."""
        row = self._session.get(Project, id)
        if row is None:
            raise NotFound("project_not_found", f"There is no project {id[:64]!r}.", "Check the id.")
        return row

    def by_name(self, name: str) -> Project | None:
        return self._session.scalars(select(Project).where(Project.name == name)).one_or_none()

    def all(self) -> Sequence[Project]:
        return self._session.scalars(select(Project).order_by(Project.id)).all()
