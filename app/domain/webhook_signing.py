"""Secrets and signatures of Standard Webhooks 1.0, symmetric (`v1`): HMAC-SHA256 of id, time and body."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence

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
