"""What the project uses and may use, the audit trail, deletions and their receipts.

Calls raise ApiError, TransportError.
"""

from __future__ import annotations

from datetime import datetime

from client.models import Answer, Page
from client.wire import Wire


class Use(Answer):
    """`current` of at most `limit`."""

    limit: int
    current: int


class Usage(Answer):
    """Of the project that the key belongs to."""

    running_jobs: Use
    waiting_jobs: Use
    stored_bytes: Use
    bytes_in_flight: Use
    requests_per_minute: Use


class DeletedDigest(Answer):
    name: str
    sha256: str
    size_bytes: int


class Deletion(Answer):
    """pending → finished: no row and no object of the subject is left."""

    id: str
    state: str
    subject: str
    subject_id: str
    reason: str = ""
    requested_by: str | None = None
    requested_at: datetime | None = None
    num_objects: int | None = None
    num_bytes: int | None = None
    digests: tuple[DeletedDigest, ...] | None = None
    finished_at: datetime | None = None


class AuditEntry(Answer):
    """Who did what: `key_id` of the request, or `actor`, an operator's account."""

    id: str
    action: str
    outcome: str = "done"
    target_id: str | None = None
    reason: str | None = None
    key_id: str | None = None
    actor: str | None = None
    request_id: str | None = None
    remote_addr: str | None = None
    created_at: datetime | None = None


class Audit:
    """`client.audit`: the trail of changes, and of refused attempts on keys. Needs scope admin."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def list(
        self,
        *,
        action: str | None = None,
        target_id: str | None = None,
        key_id: str | None = None,
        after: str | None = None,
        limit: int | None = None,
    ) -> Page[AuditEntry]:
        """One page, newest first."""
        query = {"action": action, "target_id": target_id, "key_id": key_id, "after": after, "limit": limit}
        return self._wire.get(Page[AuditEntry], "/v1/audit", query)


class Deletions:
    """`client.deletions`."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def get(self, deletion_id: str) -> Deletion:
        """How it stands; at the end the receipt."""
        return self._wire.get(Deletion, f"/v1/deletions/{deletion_id}")

    def list(self, *, after: str | None = None, limit: int | None = None) -> Page[Deletion]:
        """One page, newest first."""
        return self._wire.get(Page[Deletion], "/v1/deletions", {"after": after, "limit": limit})


def deleted(wire: Wire, path: str) -> Deletion | None:
    """DELETE `path`; None where a lost answer turned out to have been carried out, the receipt unnamed."""
    answer = wire.delete(path)
    return wire.read(Deletion, answer) if answer.status_code == 202 else None
