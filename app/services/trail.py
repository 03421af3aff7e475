"""One line of the trail per mutating call, in the transaction of the change itself.

What was refused changed nothing and leaves no line, but for keys: who tries to make, rotate or revoke one
and may not is worth knowing: the first time in each minute. The log has every request, refused ones too.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from app.db.unit_of_work import UnitOfWork
from app.services.api_keys import Caller

REFUSALS_NOTED_EVERY = timedelta(minutes=1)


@dataclass(frozen=True, kw_only=True)
class Operator:
    """Who works on the machine itself, for one project; `account` is user@host."""

    project_id: str
    account: str


def note(unit: UnitOfWork, who: Caller | Operator, action: str, target_id: str | None) -> None:
    """`action` is noun.verb: `job.create`, `upload.cancel`."""
    if isinstance(who, Operator):
        unit.trail.add(project_id=who.project_id, actor=who.account, action=action, target_id=target_id)
    else:
        _note_request(unit, who, action, target_id, None)


def note_refusal(unit: UnitOfWork, who: Caller, action: str, target_id: str | None, reason: str) -> None:
    """In a transaction of its own: the refused change's is rolled back. `reason` is the error's code.

    One line per key, action and reason in REFUSALS_NOTED_EVERY: who tries in a loop fills no table.
    """
    since = datetime.now(UTC) - REFUSALS_NOTED_EVERY
    if not unit.trail.was_refused(
        who.project_id, key_id=who.key_id, action=action, reason=reason, since=since
    ):
        _note_request(unit, who, action, target_id, reason)


def _note_request(
    unit: UnitOfWork, who: Caller, action: str, target_id: str | None, reason: str | None
) -> None:
    unit.trail.add(
        project_id=who.project_id,
        key_id=who.key_id,
        action=action,
        target_id=target_id,
        reason=reason,
        request_id=who.request_id,
        remote_addr=who.remote_addr,
    )
