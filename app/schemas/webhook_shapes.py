"""Webhooks and their deliveries on the wire. A secret goes out once, when it is made."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from annotated_types import Len
from pydantic import Field

from app.db.models.webhook import Webhook, WebhookDelivery
from app.domain.webhook_messages import (
    DeliveryError,
    DeliveryState,
    DisabledReason,
    WebhookEvent,
    WebhookState,
)
from app.domain.webhook_urls import MAX_URL_CHARACTERS
from app.schemas.common import Page, Time, WireIn, WireOut
from app.schemas.key_shapes import WHOLE_NUMBER

Event = Literal[
    "job.succeeded",
    "job.failed",
    "job.cancelled",
    "checkpoint.accepted",
    "checkpoint.rejected",
    "dataset.ready",
    "dataset.rejected",
]
_ALL: tuple[Event, ...] = get_args(Event)
Url = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_URL_CHARACTERS,
        description="https, to a public host; port 443 or 1024 to 65535; no user, password or fragment.",
        examples=["https://example.org/hooks/cleanclip"],
    ),
]
Events = Annotated[list[Event], Len(1, len(_ALL)), Field(description="The events that are sent.")]


class WebhookIn(WireIn):
    """Where to send what. By default, everything."""

    url: Url
    events: Events = Field(default_factory=lambda: [*_ALL])


class WebhookChangeIn(WireIn):
    """What is left out or null stays as it is."""

    url: Url | None = None
    events: Events | None = None
    enabled: bool | None = Field(
        default=None,
        strict=True,
        description="false: nothing is sent and nothing new is queued. true: messages that wait are sent.",
    )


class RotateSecretIn(WireIn):
    """How a secret is replaced."""

    overlap_s: Annotated[
        int,
        Field(
            ge=0,
            le=2_592_000,
            description="How long the old secret signs beside the new one, at most 30 days. 0: "
            "it ends at once.",
        ),
        WHOLE_NUMBER,
    ] = 86_400


class WebhookLinks(WireOut):
    self: str
    deliveries: str


class WebhookOut(WireOut):
    """enabled ⇄ disabled. `disabled_reason`: requested; gone (its server answered 410); failing (for
    days)."""

    object: Literal["webhook"] = "webhook"
    id: str
    url: str
    events: list[Event]
    state: WebhookState
    disabled_reason: DisabledReason | None
    failing_since: Time | None = Field(description="The first failure after the last success.")
    previous_secret_ends_at: Time | None = Field(
        description="After a rotation: until then the old secret signs beside the new one."
    )
    created_at: Time
    updated_at: Time
    links: WebhookLinks

    @classmethod
    def of(cls, row: Webhook) -> WebhookOut:
        return cls.of_row(row, **_others(row))


class IssuedWebhookOut(WebhookOut):
    """With its secret: this once. Null in the answer to a repeated request."""

    secret: str | None = Field(description="`whsec_…`: verify signatures with it. It cannot be shown again.")

    @classmethod
    def issued(cls, row: Webhook, secret: str) -> IssuedWebhookOut:
        return cls.of_row(row, **_others(row), secret=secret)

    def without_secret(self) -> IssuedWebhookOut:
        """As it is stored for a repeated request: the secret is never written down."""
        return self.model_copy(update={"secret": None})


class WebhookPage(Page[WebhookOut]):
    pass


class DeliveryLinks(WireOut):
    self: str
    webhook: str


class LastTryOut(WireOut):
    """How the last try ended. `error` null: with a status of 2xx."""

    at: Time
    status: int | None
    error: DeliveryError | None
    excerpt: str | None = Field(description="The printable beginning of the answer, where it was a refusal.")
    took_ms: int


class DeliveryOut(WireOut):
    """A message on its way to one webhook: pending → delivered | failed; replayed: pending again."""

    object: Literal["webhook_delivery"] = "webhook_delivery"
    id: str
    webhook_id: str
    message_id: str = Field(
        description="The header `webhook-id`, the same for every try: the receiver tells repetitions by it."
    )
    event: WebhookEvent
    data: dict[str, Any] = Field(description="What the message says, beside `type` and `timestamp`.")
    state: DeliveryState
    num_tries: int = Field(description="Since it was made or replayed.")
    next_try_at: Time | None
    last_try: LastTryOut | None
    created_at: Time
    links: DeliveryLinks

    @classmethod
    def of(cls, row: WebhookDelivery) -> DeliveryOut:
        place = f"/v1/webhooks/{row.webhook_id}"
        return cls.of_row(
            row,
            next_try_at=row.due_at if row.state is DeliveryState.PENDING else None,
            last_try=_last_try(row),
            links=DeliveryLinks(self=f"{place}/deliveries/{row.id}", webhook=place),
        )


class DeliveryPage(Page[DeliveryOut]):
    pass


def _last_try(row: WebhookDelivery) -> LastTryOut | None:
    if row.tried_at is None:
        return None
    return LastTryOut(
        at=row.tried_at, status=row.status, error=row.error, excerpt=row.excerpt, took_ms=row.took_ms or 0
    )


def _others(row: Webhook) -> dict[str, Any]:
    place = f"/v1/webhooks/{row.id}"
    links = {"self": place, "deliveries": f"{place}/deliveries"}
    return {"previous_secret_ends_at": row.previous_ends_at, "links": links}
