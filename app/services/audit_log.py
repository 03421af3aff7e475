"""One line of the audit trail per mutating call, in the transaction of the change itself."""

from __future__ import annotations

from app.db.unit_of_work import UnitOfWork
from app.services.api_keys import Caller


def note(unit: UnitOfWork, caller: Caller, action: str, target_id: str) -> None:
    """`action` is noun.verb: `job.create`, `upload.cancel`."""
    unit.audit.add(
        project_id=caller.project_id,
        key_id=caller.key_id,
        action=action,
        target_id=target_id,
        request_id=caller.request_id,
        remote_addr=caller.remote_addr,
    )
