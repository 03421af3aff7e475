"""Webhooks: where a project wants to be notified of what happened. The row is also what a deliverer claims.

Deliveries: the outbox of webhooks, one row for each message and webhook, written with what it tells.

`attempt` is the fence, as that of a job: what a deliverer that was believed lost has to say is not written.
"""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base, JsonObject, word_of
from app.domain.webhook_messages import (
    DeliveryError,
    DeliveryState,
    DisabledReason,
    WebhookEvent,
    WebhookState,
)


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


class WebhookDelivery(Base):
    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        Index("ix_webhook_deliveries_webhook_id_id", "webhook_id", "id"),
        Index(
            "ix_webhook_deliveries_pending",
            "webhook_id",
            "due_at",
            postgresql_where=text("state = 'pending'"),
        ),
        Index("ix_webhook_deliveries_subject_id", "subject_id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    webhook_id: Mapped[str] = mapped_column(ForeignKey("webhooks.id"))
    message_id: Mapped[str]
    """The header `webhook-id`: the same for every try, every replay and every webhook that receives it."""
    event: Mapped[WebhookEvent] = mapped_column(word_of(WebhookEvent, "event"))
    subject_id: Mapped[str]
    data: Mapped[JsonObject]
    state: Mapped[DeliveryState] = mapped_column(
        word_of(DeliveryState, "state"), default=DeliveryState.PENDING
    )
    attempt: Mapped[int] = mapped_column(default=0)
    """How often it was claimed, which only grows."""
    num_tries: Mapped[int] = mapped_column(default=0)
    """Tries since it was made or replayed."""
    due_at: Mapped[datetime] = mapped_column(server_default=func.now())
    tried_at: Mapped[datetime | None]
    """Of this and what follows: the last try."""
    status: Mapped[int | None]
    error: Mapped[DeliveryError | None] = mapped_column(word_of(DeliveryError, "error"))
    excerpt: Mapped[str | None]
    took_ms: Mapped[int | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    """When it happened."""
