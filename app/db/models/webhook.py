"""Webhooks: where a project wants to be told what happened. The row is also what a deliverer claims."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, func
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base, word_of
from app.domain.webhooks import DisabledReason, WebhookState


class Webhook(Base):
    __tablename__ = "webhooks"
    __table_args__ = (Index("ix_webhooks_project_id_id", "project_id", "id"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    url: Mapped[str]
    """May hold a token of the customer's: shown to keys with scope admin only, and never logged."""
    events: Mapped[list[str]]
    state: Mapped[WebhookState] = mapped_column(word_of(WebhookState, "state"), default=WebhookState.ENABLED)
    disabled_reason: Mapped[DisabledReason | None] = mapped_column(word_of(DisabledReason, "disabled_reason"))
    sealed_secret: Mapped[str]
    sealed_previous_secret: Mapped[str | None]
    """Signs beside the other until `previous_ends_at`."""
    previous_ends_at: Mapped[datetime | None]
    failing_since: Mapped[datetime | None]
    """The first failure after the last success."""
    busy_until: Mapped[datetime | None]
    """A deliverer sends one of its deliveries, and is believed lost after that. In the past: when it was
    served."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())
