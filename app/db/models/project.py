"""Projects, which everything else belongs to, and who may do what in them.

Of keys and sessions only the digest of the secret is kept. An idempotency key holds the answer of the POST
that it came with. Trail entries are only ever added. A job copies the policy that it is ordered with.
"""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, func
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base, JsonObject, word_of


class Project(Base):
    __tablename__ = "projects"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class ProjectQuota(Base):
    __tablename__ = "project_quotas"
    __table_args__ = (
        CheckConstraint(
            "least(running_jobs, waiting_jobs, stored_bytes, bytes_in_flight, requests_per_minute) >= 0",
            name="not_negative",
        ),
        CheckConstraint("open_uploads >= 0", name="open_uploads"),
        CheckConstraint("row_bytes >= 0", name="row_bytes"),
    )

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    running_jobs: Mapped[int | None]
    """Per queue; held when a worker claims."""
    waiting_jobs: Mapped[int | None]
    stored_bytes: Mapped[int | None]
    bytes_in_flight: Mapped[int | None]
    """Declared sizes of open uploads, together."""
    requests_per_minute: Mapped[int | None]
    open_uploads: Mapped[int | None]
    row_bytes: Mapped[int | None]
    """What rows take in the database, as `QuotaRepository.row_bytes` counts it."""
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now())


class ApiKey(Base):
    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), index=True)
    lineage_id: Mapped[str]
    """The first key of the line: a rotated key and what replaces it share it."""
    name: Mapped[str]
    prefix: Mapped[str]
    """The part that may be shown again, so that a person can tell her keys apart."""
    secret_sha256: Mapped[str] = mapped_column(unique=True)
    scopes: Mapped[list[str]]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]


class WebSession(Base):
    __tablename__ = "web_sessions"

    token_sha256: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), index=True)
    key_id: Mapped[str] = mapped_column(ForeignKey("api_keys.id", ondelete="CASCADE"))
    """Who signed in; a session ends with its key."""
    key_sha256: Mapped[str]
    opens_once: Mapped[bool]
    """A link: it is not a session, and is replaced by one when it is opened."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime]


class IdempotencyState(StrEnum):
    IN_FLIGHT = "in_flight"
    DONE = "done"


class IdempotencyKey(Base):
    __tablename__ = "idempotency_keys"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    method: Mapped[str]
    path: Mapped[str]
    request_sha256: Mapped[str]
    state: Mapped[IdempotencyState] = mapped_column(
        word_of(IdempotencyState, "state"), default=IdempotencyState.IN_FLIGHT
    )
    response_status: Mapped[int | None]
    response_body: Mapped[JsonObject | None]
    response_headers: Mapped[JsonObject | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime] = mapped_column(index=True)


class TrailOutcome(StrEnum):
    DONE = "done"
    REFUSED = "refused"


class TrailEntry(Base):
    __tablename__ = "trail_entries"
    __table_args__ = (Index("ix_trail_entries_project_id_id", "project_id", "id"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    key_id: Mapped[str | None]
    """Who: the key of the request. None: `actor` did it."""
    actor: Mapped[str | None]
    """Who, where it was no request: the operator's account on the machine, or a part of the service."""
    action: Mapped[str]
    target_id: Mapped[str | None]
    outcome: Mapped[TrailOutcome] = mapped_column(
        word_of(TrailOutcome, "outcome"), server_default=TrailOutcome.DONE.value
    )
    reason: Mapped[str | None]
    """The code of the refusal."""
    request_id: Mapped[str | None]
    remote_addr: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Policy(Base):
    __tablename__ = "policies"
    __table_args__ = (
        UniqueConstraint("project_id", "name"),
        Index("ix_policies_project_id_id", "project_id", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    """For lists and the trail; requests use the name."""
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    name: Mapped[str]
    content: Mapped[JsonObject]
    """The limits, as the library's `Policy` reads them."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.clock_timestamp())
