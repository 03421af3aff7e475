"""For those who receive our messages: whether one really comes from the service, and what it says.

By Standard Webhooks 1.0, so that any library of the standard does it as well. Give it the body as it came,
byte for byte, before anything parses it:

    from cleanclip.webhook_verification import verify

    message = verify(request.headers, request.body, "whsec_…")
    if message.id not in seen and message.type == "job.succeeded":
        ...

The same message may come again: tell repetitions by `message.id`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from cleanclip.errors import CleanClipError
from cleanclip.models import Answer

TOLERANCE_S = 300.0
"""How far the sender's clock and ours may be apart; older messages may be repetitions by a thief."""
PREFIX = "whsec_"
_SECONDS = re.compile(r"[0-9]{1,12}")


class WebhookRejected(CleanClipError):
    """The message is not what it should be: not signed with the secret, changed, too old, or none at all."""


class WebhookMessage(Answer):
    """What happened: `data` has the object's kind, id, state and link; read it over the API for the rest."""

    id: str
    type: str
    timestamp: datetime
    data: dict[str, Any]


def verify(
    headers: Mapping[str, str],
    body: bytes,
    secret: str,
    *,
    tolerance_s: float = TOLERANCE_S,
    now_s: float | None = None,
) -> WebhookMessage:
    """The message, if it is genuine. Raises WebhookRejected; ValueError for a secret that is none.

    While a secret is rotated a message carries two signatures, and either secret verifies it.
    """
    key = _key_of(secret)
    given = {name.lower(): value for name, value in headers.items()}
    message_id, sent_at = given.get("webhook-id", ""), given.get("webhook-timestamp", "")
    signatures = given.get("webhook-signature", "")
    if not (message_id and sent_at and signatures):
        raise WebhookRejected("One of webhook-id, webhook-timestamp and webhook-signature is missing.")
    _check_time(sent_at, tolerance_s, time.time() if now_s is None else now_s)
    expected = hmac.digest(key, f"{message_id}.{sent_at}.".encode() + body, hashlib.sha256)
    matches = [hmac.compare_digest(expected, one) for one in _signatures_of(signatures)]
    if not any(matches):
        raise WebhookRejected("No signature of the message fits the secret and the body as it came.")
    try:
        return WebhookMessage.model_validate(json.loads(body) | {"id": message_id})
    except (ValueError, TypeError) as error:
        raise WebhookRejected("The message is signed, but is no message of this service.") from error


def _key_of(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.strip().removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        raise ValueError("The secret is none: copy the whole text, whsec_ and what follows.")
    return key


def _check_time(sent_at: str, tolerance_s: float, now_s: float) -> None:
    if not _SECONDS.fullmatch(sent_at):
        raise WebhookRejected("The header webhook-timestamp is no number of seconds.")
    if abs(now_s - int(sent_at)) > tolerance_s:
        raise WebhookRejected(
            f"The message was sent more than {tolerance_s:g} s ago or ahead: an old one, or a clock is wrong."
        )


def _signatures_of(header: str) -> list[bytes]:
    found = []
    for one in header.split(" "):
        version, _, text = one.partition(",")
        if version == "v1":
            try:
                found.append(base64.b64decode(text, validate=True))
            except (binascii.Error, ValueError):
                continue
    return found
