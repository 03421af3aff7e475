"""Webhooks and what became of their messages, as frozen models."""

from datetime import datetime
from typing import Any

from pydantic import Field

from cleanclip.models import Answer


class Webhook(Answer):
    """enabled ⇄ disabled; `disabled_reason`: requested, gone (410) or failing (for days)."""

    id: str
    url: str = Field(default="", repr=False)
    events: tuple[str, ...] = ()
    state: str
    disabled_reason: str | None = None
    failing_since: datetime | None = None
    previous_secret_ends_at: datetime | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None


class IssuedWebhook(Webhook):
    """With the secret that was just made, which is sent this once."""

    secret: str | None = Field(default=None, repr=False)


class LastTry(Answer):
    """`error` None: the server answered 2xx."""

    at: datetime
    status: int | None = None
    error: str | None = None
    excerpt: str | None = None
    took_ms: int = 0


class WebhookDelivery(Answer):
    """pending → delivered | failed; replayed: pending again, with the same `message_id`."""

    id: str
    webhook_id: str
    message_id: str
    event: str
    data: dict[str, Any] = Field(default_factory=dict)
    state: str
    num_tries: int = 0
    next_try_at: datetime | None = None
    last_try: LastTry | None = None
    created_at: datetime | None = None
