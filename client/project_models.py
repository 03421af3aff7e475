"""What a project uses and may use, deletions with receipts, entries of the trail, as frozen models."""

from __future__ import annotations

from datetime import datetime

from client.models import Answer


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
