"""Projects and what opens them: keys and sessions, found by digest before a project is known; policies."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import ColumnElement, delete, func, or_, select, update

from app.db.models.project import ApiKey, Policy, Project, WebSession
from app.db.repositories.base import Repository
from app.db.repositories.job_changes import seconds
from app.db.repositories.owned import OwnedRepository
from app.db.repositories.pages import page_of
from app.domain.errors import NotFound


def _there(row: Project | None, named: str) -> Project:
    if row is None:
        raise NotFound(
            "project_not_found",
            f"There is no project {named[:64]!r}.",
            "List them with `python -m app.cli projects`.",
        )
    return row


class ProjectRepository(Repository):
    def add(self, row: Project) -> Project:
        self._session.add(row)
        self._session.flush()
        return row

    def get(self, id: str) -> Project:  # noqa: A002
        """Raises NotFound."""
        return _there(self._session.get(Project, id), id)

    def named(self, name: str) -> Project:
        """Raises NotFound."""
        return _there(self.by_name(name), name)

    def by_name(self, name: str) -> Project | None:
        return self._session.scalars(select(Project).where(Project.name == name)).one_or_none()

    def all(self) -> Sequence[Project]:
        return self._session.scalars(select(Project).order_by(Project.id)).all()


class WebSessionRepository(Repository):
    def add(self, row: WebSession, *, lasts_s: float) -> WebSession:
        """By the database's clock. What has ended in the project is forgotten at this occasion."""
        ended = delete(WebSession).where(
            WebSession.project_id == row.project_id, WebSession.expires_at <= func.now()
        )
        self._session.execute(ended)
        row.expires_at = func.now() + seconds(lasts_s)
        self._session.add(row)
        self._session.flush()
        self._session.refresh(row)
        return row

    def usable(self, token_sha256: str) -> WebSession | None:
        """The session or link of this token, unless it has ended."""
        query = select(WebSession).where(
            WebSession.token_sha256 == token_sha256, WebSession.expires_at > func.now()
        )
        return self._session.scalars(query).one_or_none()

    def end(self, project_id: str, token_sha256: str) -> bool:
        """Whether there was one to end: of two who open one link, one is told so."""
        gone = delete(WebSession).where(
            WebSession.project_id == project_id, WebSession.token_sha256 == token_sha256
        )
        return self._session.execute(gone.returning(WebSession.token_sha256)).first() is not None


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


def _is_active() -> tuple[ColumnElement[bool], ...]:
    return ApiKey.revoked_at.is_(None), or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > func.now())


class ApiKeyRepository(OwnedRepository[ApiKey]):
    model = ApiKey
    noun = "key"

    def of_project(self, project_id: str) -> Sequence[ApiKey]:
        """Newest first, revoked and expired ones too."""
        query = select(ApiKey).where(ApiKey.project_id == project_id).order_by(ApiKey.id.desc())
        return self._session.scalars(query).all()

    def page(self, project_id: str, after: str | None, limit: int) -> tuple[Sequence[ApiKey], bool]:
        """Newest first, revoked and expired ones too; `after` is the id of the last row before."""
        return self._page(project_id, after, limit)

    def find(self, id: str) -> ApiKey:  # noqa: A002
        """Whosever it is, for operators. Raises NotFound."""
        row = self._session.scalars(select(ApiKey).where(ApiKey.id == id)).one_or_none()
        if row is None:
            raise NotFound("key_not_found", f"There is no key {id[:64]!r}.", "Check the id.")
        return row

    def lock(self, project_id: str) -> None:
        """Until the end of the transaction nobody else rotates or revokes a key of the project."""
        query = select(ApiKey.id).where(ApiKey.project_id == project_id).order_by(ApiKey.id)
        self._session.scalars(query.with_for_update()).all()

    def active(self, project_id: str) -> Sequence[ApiKey]:
        """Neither revoked nor expired by the database's clock, as they are now; oldest first."""
        query = (
            select(ApiKey)
            .where(ApiKey.project_id == project_id, *_is_active())
            .order_by(ApiKey.id)
            .execution_options(populate_existing=True)
        )
        return self._session.scalars(query).all()

    def active_among(self, project_id: str, ids: Collection[str]) -> set[str]:
        """Those of these ids that are keys of the project and may be used now."""
        query = select(ApiKey.id).where(ApiKey.project_id == project_id, ApiKey.id.in_(ids), *_is_active())
        return set(self._session.scalars(query))

    def names(self, project_id: str, ids: Collection[str]) -> dict[str, str]:
        """By id, revoked and expired ones too; what there is not is left out."""
        query = select(ApiKey.id, ApiKey.name).where(ApiKey.project_id == project_id, ApiKey.id.in_(ids))
        return {row.id: row.name for row in self._session.execute(query)}

    def holder(self, project_id: str, key_id: str) -> tuple[str, str]:
        """The names of the project and of its key; that of a key that is gone is empty."""
        key = (
            select(ApiKey.name).where(ApiKey.project_id == project_id, ApiKey.id == key_id).scalar_subquery()
        )
        query = select(Project.name, func.coalesce(key, "")).where(Project.id == project_id)
        project_name, key_name = self._session.execute(query).one()
        return project_name, key_name

    def end_within(self, row: ApiKey, seconds_left: float) -> None:
        """Let the key expire then, unless it does so sooner."""
        row.expires_at = func.least(row.expires_at, func.now() + seconds(seconds_left))
        self._session.flush()

    def usable(self, secret_sha256: str) -> ApiKey | None:
        """The key with that digest if it is neither revoked nor expired by the database's clock."""
        query = select(ApiKey).where(ApiKey.secret_sha256 == secret_sha256, *_is_active())
        return self._session.scalars(query).one_or_none()

    def touch(self, key_id: str, *, at_most_every_s: int = 60) -> None:
        """Note that the key was used; at most one write a minute, so that polling does not write."""
        self._session.execute(
            update(ApiKey)
            .where(
                ApiKey.id == key_id,
                or_(
                    ApiKey.last_used_at.is_(None), ApiKey.last_used_at < func.now() - seconds(at_most_every_s)
                ),
            )
            .values(last_used_at=func.now())
            .execution_options(synchronize_session=False)
        )

    def remove_all(self, project_id: str) -> None:
        """With their project. The operator's role only."""
        self._session.execute(delete(ApiKey).where(ApiKey.project_id == project_id))

    def revoke(self, project_id: str, id: str) -> ApiKey:  # noqa: A002
        """Stop the key now; a second time changes nothing. Raises NotFound."""
        row = self.get(project_id, id)
        if row.revoked_at is None:
            row.revoked_at = func.now()
            self._session.flush()
        return row
