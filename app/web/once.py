"""A form that orders something is obeyed once: its id and what it says are kept with what came of it, as the
API keeps an Idempotency-Key. Pressing twice, reloading, or going back and sending the same again lead to the
same thing; a changed form is another order.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections.abc import Callable

from app.db.models.idempotency_key import IdempotencyState
from app.db.unit_of_work import UnitOfWork
from app.domain.errors import Conflict, InvalidInput
from app.process.ports import Ports
from app.services.api_keys import Caller

FIELD = "form"
"""Of the form, and of the page's address: going back asks for the same address, and so for the same form."""
_FORM = re.compile(r"[0-9a-f]{32}")
_LOOK_EVERY_S, _LOOK_AT_MOST = 0.1, 100


def new_form() -> str:
    """An id for one form."""
    return secrets.token_hex(16)


def is_form(text: str) -> bool:
    return _FORM.fullmatch(text) is not None


def once(
    ports: Ports, caller: Caller, *, path: str, form: str, content: str, work: Callable[[UnitOfWork], str]
) -> str:
    """The id that `work` returns, now or when this was sent before. Raises InvalidInput and what `work` does.

    A second press meets the first in the middle of its work, and waits for it.
    """
    if not is_form(form):
        raise InvalidInput("form_unreadable", "The form could not be read.", "Open the page again.")
    digest = hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()
    for _ in range(_LOOK_AT_MOST):
        try:
            return _once(ports, caller, path=path, form=form, digest=digest, work=work)
        except Conflict as error:
            if error.code != "idempotency_key_in_flight":
                raise
            busy = error
        time.sleep(_LOOK_EVERY_S)
    raise busy


def _once(
    ports: Ports, caller: Caller, *, path: str, form: str, digest: str, work: Callable[[UnitOfWork], str]
) -> str:
    with ports.database.unit_of_work(caller.project_id) as unit:
        row = unit.idempotency.begin(
            project_id=caller.project_id,
            key=f"form-{form}-{digest}",
            method="POST",
            path=path,
            request_sha256=digest,
            ttl_s=ports.settings.api.idempotency_ttl_s,
        )
        if row.state is IdempotencyState.DONE:
            return str((row.response_body or {})["id"])
        made = work(unit)
        unit.idempotency.finish(row, status=303, body={"id": made})
    return made
