"""Forms that do their work once: each carries an id of its own, and a second sending is recognised by it.

The page that answers such a form shows a secret and so answers the POST itself: there is no address to which
a browser could be sent, and nothing that keeps the secret until it comes. A reload sends the form again; it
is told what the first sending made, without the secret. Kept with the idempotency keys of the API.
"""

from __future__ import annotations

import hashlib
import re
import secrets

from app.db.unit_of_work import UnitOfWork
from app.domain.errors import InvalidInput
from app.services.api_keys import Caller
from app.web.visitor import Form

FIELD = "once"
_FORM = re.compile(r"[A-Za-z0-9_-]{24}")


def new_once() -> str:
    """For the field of a form that is shown."""
    return secrets.token_urlsafe(18)


class Sending:
    """One sending of a form, in the transaction of its work: a sending that fails may be repeated."""

    def __init__(self, unit: UnitOfWork, caller: Caller, form: Form, path: str, *, ttl_s: float) -> None:
        """Raises InvalidInput; Conflict while the first sending is at work."""
        once = form.get(FIELD)
        if not _FORM.fullmatch(once):
            raise InvalidInput(
                "form_unreadable", "The form is not whole.", "Open the page anew, and send the form again."
            )
        self._unit = unit
        # Not of the values: who goes back, changes one and sends again is told, too.
        self._row = unit.idempotency.begin(
            project_id=caller.project_id,
            key=f"form/{once}",
            method="POST",
            path=path,
            request_sha256=hashlib.sha256(path.encode()).hexdigest(),
            ttl_s=ttl_s,
        )

    @property
    def made(self) -> str | None:
        """The id of what an earlier sending made; None: this is the first."""
        return None if self._row.response_body is None else str(self._row.response_body["id"])

    def done(self, made_id: str) -> None:
        self._unit.idempotency.finish(self._row, status=201, body={"id": made_id})
