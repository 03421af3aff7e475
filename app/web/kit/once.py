"""Forms that do their work once: each carries an id of its own, by which a second sending is recognised. Kept
with the idempotency keys of the API.

A form that orders leads on to what came of it, however often it is sent: pressing twice, reloading, or going
back and sending the same again lead to the same thing; a changed form is another order. A form that makes a
secret is answered by the page that shows it: there is no address to which a browser could be sent, and
nothing that keeps the secret until it comes. A reload sends that form again, and is told what the first
sending made.
"""

import hashlib
import re
import secrets
import time
from collections.abc import Callable

from app.db.models.job import Job
from app.db.models.project import IdempotencyState
from app.db.unit_of_work import UnitOfWork
from app.domain.errors import Conflict
from app.live.ports import Ports
from app.services.api_keys import Caller
from app.web.kit.visitor import Form, unreadable_form

FIELD = "form"
"""Of an order's form and of its page's address: going back asks for the same address, and the same form."""
_FORM = re.compile(r"[0-9a-f]{32}")
SECRETS_FIELD = "once"
_SECRETS_FORM = re.compile(r"[A-Za-z0-9_-]{24}")
_LOOK_EVERY_S, _LOOK_AT_MOST = 0.1, 100
Work = Callable[[UnitOfWork], tuple[str, Job]]
"""Makes something, and queues the job that goes with it: the thing's id, and the job."""


def new_form() -> str:
    """An id for one form that orders."""
    return secrets.token_hex(16)


def is_form(text: str) -> bool:
    return _FORM.fullmatch(text) is not None


def new_once() -> str:
    """An id for one form that makes a secret."""
    return secrets.token_urlsafe(18)


class Sending:
    """One sending of a form, in the transaction of its work: a sending that fails may be repeated."""

    def __init__(
        self, unit: UnitOfWork, caller: Caller, *, form_id: str, content: str, path: str, ttl_s: float
    ) -> None:
        """`content`: equal in two sendings of one order. Raises Conflict while the first one is at work."""
        digest = hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()
        self._unit = unit
        self._row = unit.idempotency.begin(
            project_id=caller.project_id,
            key=f"form-{form_id}-{digest}",
            method="POST",
            path=path,
            request_sha256=digest,
            ttl_s=ttl_s,
        )

    @property
    def made(self) -> str | None:
        """The id of what an earlier sending made; None: this is the first."""
        if self._row.state is not IdempotencyState.DONE:
            return None
        return str((self._row.response_body or {})["id"])

    def done(self, made_id: str) -> None:
        self._unit.idempotency.finish(self._row, status=303, body={"id": made_id})


def secret_sending(unit: UnitOfWork, caller: Caller, form: Form, path: str, *, ttl_s: float) -> Sending:
    """Of a form that makes a secret, whatever its values: who changes one and sends again is told, too.

    Raises InvalidInput; Conflict while the first sending is at work.
    """
    form_id = form.get(SECRETS_FIELD)
    if not _SECRETS_FORM.fullmatch(form_id):
        raise unreadable_form("The form is incomplete.")
    return Sending(unit, caller, form_id=form_id, content=path, path=path, ttl_s=ttl_s)


def once(ports: Ports, caller: Caller, *, path: str, form: str, content: str, work: Work) -> str:
    """The id of what `work` makes, now or when this was sent before. The job is hinted at after the commit.

    A second press meets the first in the middle of its work, and waits for it.
    Raises InvalidInput and what `work` does.
    """
    if not is_form(form):
        raise unreadable_form()
    for _ in range(_LOOK_AT_MOST):
        try:
            made, job = _once(ports, caller, path=path, form=form, content=content, work=work)
        except Conflict as error:
            if error.code != "idempotency_key_in_flight":
                raise
            busy = error
        else:
            ports.hint(job)
            return made
        time.sleep(_LOOK_EVERY_S)
    raise busy


def _once(
    ports: Ports, caller: Caller, *, path: str, form: str, content: str, work: Work
) -> tuple[str, Job | None]:
    ttl_s = ports.settings.api.idempotency_ttl_s
    with ports.database.unit_of_work(caller.project_id) as unit:
        sending = Sending(unit, caller, form_id=form, content=content, path=path, ttl_s=ttl_s)
        if sending.made is not None:
            return sending.made, None
        made, job = work(unit)
        sending.done(made)
    return made, job
