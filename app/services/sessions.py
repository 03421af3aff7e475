"""Sessions of browsers: a key signs in once, a token stands for it afterwards.

A token is 32 random bytes; the row keeps its SHA-256. The key's own text is kept nowhere: the session holds
the key's digest, by which the caller is recognised for every request, so that a session ends with its key. A
link signs in once: it is opened by being deleted, so that of two who open it one gets in.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass

from app.db.models.project import WebSession
from app.db.unit_of_work import UnitOfWork
from app.domain.errors import Unauthorized
from app.services.api_keys import Caller, PresentedKey
from app.services.trail import note

_TOKEN_BYTES = 32
_MAX_TOKEN_LENGTH = 64


@dataclass(frozen=True, kw_only=True)
class FoundSession:
    """Whose key the token stands for."""

    project_id: str
    key: PresentedKey


def token_digest(token: str) -> str:
    """What the row keeps of a token."""
    return hashlib.sha256(token[:_MAX_TOKEN_LENGTH].encode("utf-8", "replace")).hexdigest()


def form_token(token: str) -> str:
    """What every form of the session carries, so that no other site's form is taken for one of its own."""
    return hmac.new(token.encode("utf-8", "replace"), b"form", hashlib.sha256).hexdigest()


def begin(unit: UnitOfWork, caller: Caller, key: PresentedKey, *, lasts_s: float) -> str:
    """Sign in; returns the token, which cannot be had again."""
    token = _add(unit, caller.project_id, key, lasts_s=lasts_s, opens_once=False)
    note(unit, caller, "session.begin", None)
    return token


def make_link(unit: UnitOfWork, project_id: str, key: PresentedKey, *, lasts_s: float) -> str:
    """The token of a link that signs in once, for an operator's command."""
    return _add(unit, project_id, key, lasts_s=lasts_s, opens_once=True)


def _add(unit: UnitOfWork, project_id: str, key: PresentedKey, *, lasts_s: float, opens_once: bool) -> str:
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    row = WebSession(
        token_sha256=token_digest(token),
        project_id=project_id,
        key_id=key.key_id,
        key_sha256=key.secret_sha256,
        opens_once=opens_once,
    )
    unit.web_sessions.add(row, lasts_s=lasts_s)
    return token


def ended(message: str = "Your session has ended.") -> Unauthorized:
    remedy = "Sign in with a key of your project; nothing that you started is lost."
    return Unauthorized("session_ended", message, remedy)


def find(unit: UnitOfWork, token: str, *, is_link: bool = False) -> FoundSession:
    """Who presents this token, in a transaction that presents its digest. Raises Unauthorized."""
    row = unit.web_sessions.usable(token_digest(token))
    if row is None or row.opens_once != is_link:
        raise _link_used() if is_link else ended()
    key = PresentedKey(key_id=row.key_id, secret_sha256=row.key_sha256)
    return FoundSession(project_id=row.project_id, key=key)


def open_link(unit: UnitOfWork, caller: Caller, key: PresentedKey, link: str, *, lasts_s: float) -> str:
    """The token of the session that the link opens, once. Raises Unauthorized."""
    if not unit.web_sessions.end(caller.project_id, token_digest(link)):
        raise _link_used()
    return begin(unit, caller, key, lasts_s=lasts_s)


def end(unit: UnitOfWork, caller: Caller, token: str) -> None:
    """Sign out; a second time changes nothing."""
    if unit.web_sessions.end(caller.project_id, token_digest(token)):
        note(unit, caller, "session.end", None)


def _link_used() -> Unauthorized:
    return Unauthorized(
        "link_used",
        "This link was used before, or it is too old.",
        "Sign in with a key, or ask for a new link.",
    )
