"""Idempotency keys: one answer for one key, whatever is repeated."""

import hashlib
from typing import Any

from sqlalchemy import delete, func, select, text

from app.db.models.project import IdempotencyKey, IdempotencyState
from app.db.repositories.base import Repository
from app.db.repositories.job_changes import seconds
from app.domain.errors import Conflict, InvalidInput


def _lock_number(project_id: str, key: str) -> int:
    digest = hashlib.sha256(f"{project_id}\0{key}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


class IdempotencyRepository(Repository):
    def begin(
        self, *, project_id: str, key: str, method: str, path: str, request_sha256: str, ttl_s: float
    ) -> IdempotencyKey:
        """The row of that key: state `in_flight` and new (do the work, then `finish`), or `done` (replay it).

        The row lives in the caller's transaction: work that fails takes its key along, and may be tried
        again. Raises Conflict while another transaction holds the key, InvalidInput when it was used for
        another request.
        """
        lock = text("SELECT pg_try_advisory_xact_lock(:number)")
        if not self._session.execute(lock, {"number": _lock_number(project_id, key)}).scalar_one():
            raise Conflict(
                "idempotency_key_in_flight",
                "A request with this Idempotency-Key is still being handled.",
                "Wait a moment and repeat it; the stored answer will come.",
                retry_after_s=1,
            )
        row = self._session.scalars(
            select(IdempotencyKey).where(IdempotencyKey.project_id == project_id, IdempotencyKey.key == key)
        ).one_or_none()
        if row is not None and self._is_expired(row):
            self._session.delete(row)
            self._session.flush()
            row = None
        if row is None:
            row = IdempotencyKey(
                project_id=project_id,
                key=key,
                method=method,
                path=path,
                request_sha256=request_sha256,
                expires_at=func.now() + seconds(ttl_s),
            )
            self._session.add(row)
            self._session.flush()
            return row
        self._check_same(row, method, path, request_sha256)
        return row

    def peek(
        self, *, project_id: str, key: str, method: str, path: str, request_sha256: str
    ) -> IdempotencyKey | None:
        """The finished row of that key, or None; locks and writes nothing, for a look before slow work.

        Raises InvalidInput when the key was used for another request.
        """
        row = self._session.scalars(
            select(IdempotencyKey).where(
                IdempotencyKey.project_id == project_id,
                IdempotencyKey.key == key,
                IdempotencyKey.expires_at > func.now(),
            )
        ).one_or_none()
        if row is not None:
            self._check_same(row, method, path, request_sha256)
        return row if row is not None and row.state is IdempotencyState.DONE else None

    @staticmethod
    def _check_same(row: IdempotencyKey, method: str, path: str, request_sha256: str) -> None:
        if (row.method, row.path, row.request_sha256) != (method, path, request_sha256):
            raise InvalidInput(
                "idempotency_key_reused",
                "This Idempotency-Key was used for another request.",
                "Use a new key for every new request; repeat a key only with the same method, path and body.",
            )

    def finish(
        self, row: IdempotencyKey, *, status: int, body: dict[str, Any], headers: dict[str, Any] | None = None
    ) -> None:
        """Store the answer that a repetition will get."""
        row.state = IdempotencyState.DONE
        row.response_status = status
        row.response_body = body
        row.response_headers = headers or {}
        self._session.flush()

    def forget(self, project_id: str, shown_id: str) -> None:
        """Answers that show what is being deleted."""
        shown = delete(IdempotencyKey).where(
            IdempotencyKey.project_id == project_id, IdempotencyKey.response_body["id"].astext == shown_id
        )
        self._session.execute(shown.execution_options(synchronize_session=False))

    def _is_expired(self, row: IdempotencyKey) -> bool:
        return bool(self._session.scalar(select(func.now() >= row.expires_at)))
