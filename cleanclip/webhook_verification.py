"""For those who receive our messages: whether one really comes from the service, and what it says.

By Standard Webhooks 1.0, with the standard's own library. Give it the body as it came, byte for byte, before
anything parses it:

    from cleanclip.webhook_verification import verify

    message = verify(request.headers, request.body, "whsec_…")
    if message.id not in seen and message.type == "job.succeeded":
        ...

The same message may come again: tell repetitions by `message.id`.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook, WebhookVerificationError

from cleanclip.errors import CleanClipError
from cleanclip.models import Answer
from cleanclip.vocabulary.strict_json import refuse_many


class WebhookRejected(CleanClipError):
    """The message is not what it should be: not signed with the secret, changed, too old, or none at all."""


class WebhookMessage(Answer):
    """What happened: `data` has the object's kind, id, state and link; read it over the API for the rest."""

    id: str
    type: str
    timestamp: datetime
    data: dict[str, Any]


def verify(headers: Mapping[str, str], body: bytes, secret: str) -> WebhookMessage:
    """The message, if it is genuine and at most five minutes old, or ahead of our clock.

    Raises WebhookRejected; ValueError for a secret that is not valid. While a secret is rotated a message
    carries two signatures, and either secret verifies it.
    """
    try:
        webhook = Webhook(secret.strip())
    except (EmptyWebhookSecretError, ValueError) as error:
        raise ValueError("The secret is not valid: copy the whole text, whsec_ and what follows.") from error
    try:
        webhook.verify(body, dict(headers), json_parse=False)
    except WebhookVerificationError as error:
        raise WebhookRejected(
            f"The message is not genuine, or it was changed on the way: {error}."
        ) from error
    except ValueError as error:  # of the library's decoding
        raise WebhookRejected(
            "The message is malformed: its signature or its body cannot be decoded."
        ) from error
    message_id = next(value for name, value in headers.items() if name.lower() == "webhook-id")
    try:
        refuse_many(body)
        return WebhookMessage.model_validate(json.loads(body) | {"id": message_id})
    except (ValueError, TypeError) as error:
        raise WebhookRejected("The message is signed, but is not a message of this service.") from error
