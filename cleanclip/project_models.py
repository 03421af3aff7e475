"""What is a project's rather than a job's: keys, policies, use and limits, deletions, the trail."""

from datetime import datetime
from typing import Any

from pydantic import Field

from cleanclip.models import Answer


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
    open_uploads: Use
    row_bytes: Use
    """Of the service's database: every job, dataset, checkpoint and upload takes some."""
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


class TrailEntry(Answer):
    """Who did what: `key_id` of the request, or `actor`, an operator's account."""

    id: str
    action: str
    outcome: str = "done"
    target_id: str | None = None
    reason: str | None = None
    key_id: str | None = None
    key_name: str | None = None
    actor: str | None = None
    request_id: str | None = None
    remote_addr: str | None = None
    created_at: datetime | None = None


class Key(Answer):
    """active → expired | revoked. Of its text only `prefix`, which opens nothing."""

    id: str
    name: str
    state: str
    prefix: str = ""
    scopes: tuple[str, ...] = ()
    lineage_id: str | None = None
    created_at: datetime | None = None
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None


class IssuedKey(Key):
    """A key that was just made; `key` is its text, which is sent this once."""

    key: str | None = Field(default=None, repr=False)


class Policy(Answer):
    """Limits that the project keeps under a name; `sha256` is what reports repeat of them."""

    id: str
    name: str
    policy: dict[str, Any]
    sha256: str = ""
    created_at: datetime | None = None
    updated_at: datetime | None = None
