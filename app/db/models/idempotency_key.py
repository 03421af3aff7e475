"""Idempotency keys: the stored answer of a POST, written with what the POST created."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import ForeignKey, func
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base, JsonObject, word_of


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
