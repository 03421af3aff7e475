"""Sessions of browsers: found by the digest of their token, before a project is known."""

from __future__ import annotations

from sqlalchemy import delete, func, select

from app.db.models.web_session import WebSession
from app.db.repositories.base import Repository
from app.db.repositories.job_changes import seconds


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
