"""Webhooks: what is reported to customers' servers, and when a delivery that failed is tried again.

By Standard Webhooks 1.0. A *message* is one thing that happened; a *delivery* is that message on its way to
one webhook.

delivery   pending → delivered | failed;  delivered, failed → pending (replay)
webhook    enabled ⇄ disabled

Signatures are symmetric (`v1`): HMAC-SHA256 of id, time and body.
"""

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any


class WebhookEvent(StrEnum):
    JOB_SUCCEEDED = "job.succeeded"
    JOB_FAILED = "job.failed"
    JOB_CANCELLED = "job.cancelled"
    CHECKPOINT_ACCEPTED = "checkpoint.accepted"
    CHECKPOINT_REJECTED = "checkpoint.rejected"
    DATASET_READY = "dataset.ready"
    DATASET_REJECTED = "dataset.rejected"
    TEST = "webhook.test"
    """Sent when somebody asks for it, to that one webhook, whatever it subscribed to."""


SUBSCRIBABLE = tuple(event for event in WebhookEvent if event is not WebhookEvent.TEST)


class WebhookState(StrEnum):
    ENABLED = "enabled"
    DISABLED = "disabled"
    """Nothing new is queued for it; what waits, waits on."""


class DisabledReason(StrEnum):
    REQUESTED = "requested"
    GONE = "gone"
    """Its server answered 410."""
    FAILING = "failing"
    """Every delivery failed for days."""


class DeliveryState(StrEnum):
    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    """The dead-letter list: all tries are used up, or the server said 410. Only a replay sends it again."""


class DeliveryError(StrEnum):
    """Why a try failed."""

    URL_REFUSED = "url_refused"
    NO_PUBLIC_ADDRESS = "no_public_address"
    """The name has no address, or one that we do not connect to; which of the two is not reported."""
    NO_CONNECTION = "no_connection"
    TLS_FAILED = "tls_failed"
    TIMED_OUT = "timed_out"
    BAD_ANSWER = "bad_answer"
    REDIRECTED = "redirected"
    REFUSED = "refused"
    """Another status than 2xx."""
    SECRET_UNREADABLE = "secret_unreadable"  # noqa: S105 - a word for what went wrong
    """The operator's keys do not open what the secret was sealed with."""
    INTERRUPTED = "interrupted"
    """The last try that was left began, and nobody reported its end."""


WAITS_S = (5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600, 24 * 3600)
"""Between one try and the next, as the standard recommends: three days together."""
MAX_TRIES = len(WAITS_S) + 1
JITTER = 0.2
LONGEST_RETRY_AFTER_S = 24 * 3600


def wait_s(num_tries: int, *, luck: float, retry_after_s: float = 0.0) -> float | None:
    """How long to wait after so many failed tries; None: they are used up. `luck` is random in [0, 1).

    A server that asks for more patience gets it, up to a day.
    """
    if num_tries >= MAX_TRIES:
        return None
    planned_s = WAITS_S[num_tries - 1] * (1 + JITTER * luck)
    return max(planned_s, min(retry_after_s, LONGEST_RETRY_AFTER_S))


@dataclass(frozen=True, kw_only=True)
class Answer:
    """How a try ended. `excerpt`: the printable beginning of what a server that refused said."""

    error: DeliveryError | None
    status: int | None = None
    excerpt: str | None = None
    took_s: float = 0.0
    retry_after_s: float = 0.0

    @property
    def is_gone(self) -> bool:
        """The server wants nothing more, ever."""
        return self.status == 410


def message_data(noun: str, id: str, path: str, **facts: str) -> dict[str, Any]:  # noqa: A002
    """The `data` of a message: which thing, and where to read it. Ids and words of ours, nothing of a
    customer's."""
    return {"object": noun, "id": id, **facts, "links": {"self": f"{path}/{id}"}}


def body_of(event: WebhookEvent, occurred_at: datetime, data: Mapping[str, Any]) -> bytes:
    """The body of every try of a message, byte for byte the same."""
    at = occurred_at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    message = {"type": event.value, "timestamp": at, "data": dict(sorted(data.items()))}
    return json.dumps(message, separators=(",", ":")).encode()


PREFIX = "whsec_"
_NUM_BYTES = 32


def new_secret() -> str:
    """`whsec_` and 32 random bytes in base64."""
    return PREFIX + base64.b64encode(secrets.token_bytes(_NUM_BYTES)).decode("ascii")


def signed_headers(
    secret_texts: Sequence[str], *, message_id: str, timestamp_s: int, body: bytes
) -> Mapping[str, str]:
    """The standard's three headers. With several secrets each signs: a receiver needs to know one of them."""
    content = f"{message_id}.{timestamp_s}.".encode() + body
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": " ".join(f"v1,{_signature(text, content)}" for text in secret_texts),
    }


def _signature(secret_text: str, content: bytes) -> str:
    key = base64.b64decode(secret_text.removeprefix(PREFIX), validate=True)
    return base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode("ascii")
