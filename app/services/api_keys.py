"""API keys: their text, how one is issued, how a caller is recognised.

    cclip_live_<26 characters: the key's id>_<32 characters: the secret><6 characters: checksum>

The secret is 32 base-62 characters (190 random bits), the checksum a CRC-32 of everything before it, so that
a mistyped key is refused before the database is asked and a leaked one is found by a secret scanner. The
row keeps the SHA-256 of the whole text and never the text: a key is shown once.
"""

import hashlib
import hmac
import re
import secrets
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from app.db.models.project import ApiKey
from app.db.unit_of_work import UnitOfWork
from app.domain.errors import Forbidden, InvalidInput, Unauthorized
from app.domain.ids import new_id

SCOPES = ("read", "upload", "run", "admin")
"""read: look; upload: uploads and datasets; run: jobs; admin: everything, keys included."""

LAST_USED_EVERY_S = 60

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_HEAD = "cclip_live_"
_FORM = re.compile(r"cclip_live_([0-9a-z]{26})_([0-9A-Za-z]{32})([0-9A-Za-z]{6})")


@dataclass(frozen=True, kw_only=True)
class PresentedKey:
    """A well-formed key text whose checksum is right; nothing is known about its row yet."""

    key_id: str
    secret_sha256: str


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who is asking, and from where. Every use case takes one; `project_id` is the wall between tenants."""

    project_id: str
    key_id: str
    scopes: frozenset[str]
    request_id: str
    remote_addr: str | None

    def require(self, scope: str) -> None:
        """Raise Forbidden unless the key has `scope` (or admin)."""
        if scope not in self.scopes and "admin" not in self.scopes:
            raise Forbidden(
                "scope_missing",
                f"This key does not have the scope '{scope}'.",
                f"Use a key with the scope '{scope}'.",
            )


def checksum(text: str) -> str:
    """The six characters that end a key: a mistyped one is refused without a look at the database."""
    value = zlib.crc32(text.encode("ascii"))
    digits = []
    for _ in range(6):
        value, digit = divmod(value, 62)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def issue(
    unit: UnitOfWork,
    *,
    project_id: str,
    name: str,
    scopes: Iterable[str] = SCOPES,
    expires_at: datetime | None = None,
    lineage_id: str | None = None,
) -> tuple[ApiKey, str]:
    """Add a key to the project; returns its row and its text, which cannot be had again.

    With `lineage_id` it replaces the other keys of that line; without, it begins one.

    Raises InvalidInput for an unknown scope.
    """
    scopes = sorted(set(scopes))
    if unknown := [scope for scope in scopes if scope not in SCOPES]:
        raise InvalidInput(
            "unknown_scope",
            f"There is no scope '{unknown[0]}'.",
            f"Choose from {', '.join(SCOPES)}.",
            pointer="/scopes",
        )
    key_id = new_id("key")
    body = f"{_HEAD}{key_id.removeprefix('key_')}_{''.join(secrets.choice(_ALPHABET) for _ in range(32))}"
    text = body + checksum(body)
    row = ApiKey(
        id=key_id,
        project_id=project_id,
        lineage_id=lineage_id or key_id,
        name=name,
        prefix=text[: len(_HEAD) + 26],
        secret_sha256=_digest(text),
        scopes=scopes,
        expires_at=expires_at,
    )
    return unit.api_keys.add(row), text


def read_key(text: str) -> PresentedKey:
    """Check the form and the checksum, without the database. Raises Unauthorized."""
    match = _FORM.fullmatch(text)
    if match is None or not hmac.compare_digest(checksum(text[:-6]), match[3]):
        raise Unauthorized(
            "invalid_key",
            "The API key is not well-formed.",
            "Copy the whole key, from 'cclip_live_' to its last character.",
        )
    return PresentedKey(key_id=f"key_{match[1]}", secret_sha256=_digest(text))


def recognise(
    unit: UnitOfWork, presented: PresentedKey, *, request_id: str, remote_addr: str | None
) -> Caller:
    """Who holds this key. Notes its use at most once a minute. Raises Unauthorized; the answer to an
    unknown, a wrong, a revoked and an expired key is the same, so that nothing can be learnt from it."""
    row = unit.api_keys.usable(presented.secret_sha256)
    if row is None or not hmac.compare_digest(row.id, presented.key_id):
        raise Unauthorized(
            "invalid_key",
            "The API key is unknown, revoked or expired.",
            "Ask an administrator of your project for a valid key.",
        )
    unit.api_keys.touch(row.id, at_most_every_s=LAST_USED_EVERY_S)
    return Caller(
        project_id=row.project_id,
        key_id=row.id,
        scopes=frozenset(row.scopes),
        request_id=request_id,
        remote_addr=remote_addr,
    )
