"""Keys: made, rotated, revoked, by an administrator's request or an operator's command; each leaves a line.

A rotated key stays valid for a while beside the one that replaces it, so that a line of keys has at most two
that are active. No request locks its project out, at once or later: a key with scope admin is revoked, or
replaced, only where another one lasts at least as long. A request that fears for its last one rotates it,
without overlap. Operators may do anything.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from app.db.models.project import ApiKey
from app.db.unit_of_work import UnitOfWork
from app.domain.errors import Conflict, InvalidInput
from app.services.api_keys import Caller, issue
from app.services.trail import Operator, note

DEFAULT_OVERLAP_S = 24 * 3600
MAX_LIFETIME = timedelta(days=3653)


def create(
    unit: UnitOfWork, who: Caller | Operator, *, name: str, scopes: Sequence[str], expires_at: datetime | None
) -> tuple[ApiKey, str]:
    """A key of the project and its text, which cannot be had again. Raises InvalidInput."""
    _check_expiry(expires_at)
    row, text = issue(unit, project_id=who.project_id, name=name, scopes=scopes, expires_at=expires_at)
    note(unit, who, "key.create", row.id)
    return row, text


def rotate(
    unit: UnitOfWork,
    who: Caller | Operator,
    key_id: str,
    *,
    overlap_s: float = DEFAULT_OVERLAP_S,
    expires_at: datetime | None = None,
) -> tuple[ApiKey, str]:
    """A key with the same name and scopes; the old one ends after `overlap_s`, or when it would have.

    The new one lives as long as the old one was meant to, unless `expires_at` is given. Raises NotFound;
    Conflict (`key_not_active`, `key_already_rotated`, `last_admin_key`, but for operators); InvalidInput.
    """
    _check_expiry(expires_at)
    unit.api_keys.lock(who.project_id)
    old = unit.api_keys.get(who.project_id, key_id)
    line = [row for row in unit.api_keys.active(who.project_id) if row.lineage_id == old.lineage_id]
    if old not in line:
        raise Conflict(
            "key_not_active",
            "The key is revoked or expired.",
            "Create a new key, or rotate one that is active.",
        )
    if len(line) > 1:
        raise Conflict(
            "key_already_rotated",
            "The key was rotated, and both it and its successor are active.",
            "Revoke one of the two, or wait until the older one expires.",
        )
    if expires_at is None and old.expires_at is not None:
        expires_at = datetime.now(UTC) + (old.expires_at - old.created_at)
    if expires_at is not None and not _lasts(expires_at, old.expires_at):
        _check_admin_stays(unit, who, old)
    row, text = issue(
        unit,
        project_id=who.project_id,
        name=old.name,
        scopes=old.scopes,
        expires_at=expires_at,
        lineage_id=old.lineage_id,
    )
    unit.api_keys.end_within(old, overlap_s)
    note(unit, who, "key.rotate", old.id)
    note(unit, who, "key.create", row.id)
    return row, text


def revoke(unit: UnitOfWork, who: Caller | Operator, key_id: str) -> ApiKey:
    """Stop the key now. Again: unchanged. Raises NotFound; Conflict (`last_admin_key`), but for operators."""
    unit.api_keys.lock(who.project_id)
    row = unit.api_keys.get(who.project_id, key_id)
    _check_admin_stays(unit, who, row)
    if row.revoked_at is None:
        unit.api_keys.revoke(who.project_id, key_id)
        note(unit, who, "key.revoke", row.id)
    return row


def rename(unit: UnitOfWork, who: Caller | Operator, key_id: str, name: str) -> ApiKey:
    """Give the key another name, a revoked or expired one too. Raises NotFound."""
    row = unit.api_keys.get(who.project_id, key_id)
    row.name = name
    note(unit, who, "key.rename", row.id)
    unit.flush()
    return row


def _check_admin_stays(unit: UnitOfWork, who: Caller | Operator, going: ApiKey) -> None:
    """Without `going` the project has a key with scope admin for as long as with it. Raises Conflict."""
    admins = [row for row in unit.api_keys.active(who.project_id) if "admin" in row.scopes]
    if isinstance(who, Operator) or going not in admins:
        return
    if not any(_lasts(other.expires_at, going.expires_at) for other in admins if other is not going):
        raise Conflict(
            "last_admin_key",
            "No other admin key stays valid as long as this one; nobody could then manage the keys.",
            "First create an admin key that stays valid at least as long, or rotate this one "
            "without an earlier expiry.",
        )


def _lasts(expires_at: datetime | None, other: datetime | None) -> bool:
    """Whether what ends at `one` lasts at least as long as what ends at `other`; None: for ever."""
    return expires_at is None or (other is not None and expires_at >= other)


def _check_expiry(expires_at: datetime | None) -> None:
    if expires_at is None:
        return
    now = datetime.now(UTC)
    if not now < expires_at <= now + MAX_LIFETIME:
        raise InvalidInput(
            "key_expiry_invalid",
            "The key would expire in the past or more than ten years from now.",
            "Give a time in the future, or none for a key that does not expire.",
            pointer="/expires_at",
        )
