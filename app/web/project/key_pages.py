"""Keys of the project: list, make, rotate, revoke. Scope admin; every refused attempt leaves a line.

A key's text is on the page that answers the form, this once (app/web/kit/once.py).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.db.models.project import ApiKey
from app.db.unit_of_work import UnitOfWork
from app.domain.errors import Conflict, InvalidInput
from app.edge.error_codes import status_of
from app.edge.refused_actions import refusals_noted
from app.live.ports import Ports, PortsDep
from app.schemas.key_shapes import KeyOut
from app.services import key_management
from app.services.api_keys import SCOPES, Caller
from app.web.kit.addresses import Cursor, KeyPath, link
from app.web.kit.fields import (
    OVERLAPS,
    Filled,
    check_confirmed,
    form_incomplete,
    read_choice,
    read_day_end,
    read_name,
    refill,
)
from app.web.kit.once import new_once, secret_sending
from app.web.kit.rendering import page, see_other
from app.web.kit.visitor import Admin, AnyVisitor, FormDep

PER_PAGE = 50
HERE = "/ui/keys"
_WHAT_SCOPES_DO = {
    "read": "read everything but keys, webhooks and the trail",
    "upload": "upload checkpoints, register and delete datasets",
    "run": "order, pause, cancel and delete jobs",
    "admin": "everything, keys, webhooks and the trail included",
}

router = APIRouter()


@router.get("/keys")
def show_keys(request: Request, visitor: Admin, ports: PortsDep, after: Cursor = None) -> Response:
    """Newest first, revoked and expired ones too; and the form that makes one."""
    return _list(request, ports, visitor.caller, after)


@router.post("/keys")
def make_key(request: Request, visitor: AnyVisitor, form: FormDep, ports: PortsDep) -> Response:
    """Answered by the page that shows the key."""
    caller = visitor.caller
    _check_may(ports, caller, "key.create", None)
    try:
        name, expires_at = read_name(form), read_day_end(form, "expires_at")
        if not (scopes := form.all("scopes")):
            raise form_incomplete("scopes", "A key needs a scope.", "Say what it may do.")
        with _managing(ports, caller, "key.create", None) as unit:
            sending = secret_sending(unit, caller, form, HERE, ttl_s=ports.settings.api.idempotency_ttl_s)
            if sending.made is not None:
                return _sent_before(request, unit, caller, sending.made)
            row, text = key_management.create(unit, caller, name=name, scopes=scopes, expires_at=expires_at)
            sending.done(row.id)
            return _issued(request, row, text)
    except (InvalidInput, Conflict) as error:
        shown = refill(form, error, boxes="scopes")
        return _list(request, ports, caller, None, shown=shown, status=status_of(error))


@router.get("/keys/{key_id}")
def show_key(key_id: KeyPath, request: Request, visitor: Admin, ports: PortsDep) -> Response:
    """One key, and how it ends."""
    return _one(request, ports, visitor.caller, key_id)


@router.post("/keys/{key_id}/rename")
def rename_key(
    *, key_id: KeyPath, request: Request, visitor: AnyVisitor, form: FormDep, ports: PortsDep
) -> Response:
    """Back to its page."""
    caller = visitor.caller
    _check_may(ports, caller, "key.rename", key_id)
    try:
        name = read_name(form)
    except InvalidInput as error:
        return _one(request, ports, caller, key_id, wrong_name=error.message, status=status_of(error))
    with _managing(ports, caller, "key.rename", key_id) as unit:
        key_management.rename(unit, caller, key_id, name)
    return see_other(f"{HERE}/{key_id}")


@router.post("/keys/{key_id}/rotate")
def rotate_key(
    *, key_id: KeyPath, request: Request, visitor: AnyVisitor, form: FormDep, ports: PortsDep
) -> Response:
    """Answered by the page that shows the new key."""
    caller, path = visitor.caller, f"{HERE}/{key_id}/rotate"
    _check_may(ports, caller, "key.rotate", key_id)
    try:
        overlap_s = float(read_choice(form, "overlap_s", OVERLAPS))
        expires_at = read_day_end(form, "expires_at")
        with _managing(ports, caller, "key.rotate", key_id) as unit:
            sending = secret_sending(unit, caller, form, path, ttl_s=ports.settings.api.idempotency_ttl_s)
            if sending.made is not None:
                return _sent_before(request, unit, caller, sending.made)
            row, text = key_management.rotate(
                unit, caller, key_id, overlap_s=overlap_s, expires_at=expires_at
            )
            sending.done(row.id)
            answer = _issued(request, row, text, replaced=unit.api_keys.get(caller.project_id, key_id))
    except (InvalidInput, Conflict) as error:
        return _one(request, ports, caller, key_id, rotating=refill(form, error), status=status_of(error))
    ports.keys.forget(key_id)
    return answer


@router.post("/keys/{key_id}/revoke")
def revoke_key(
    *, key_id: KeyPath, request: Request, visitor: AnyVisitor, form: FormDep, ports: PortsDep
) -> Response:
    """At once, and for good."""
    caller = visitor.caller
    _check_may(ports, caller, "key.revoke", key_id)
    try:
        check_confirmed(form)
        with _managing(ports, caller, "key.revoke", key_id) as unit:
            key_management.revoke(unit, caller, key_id)
    except (InvalidInput, Conflict) as error:
        return _one(request, ports, caller, key_id, revoking=refill(form, error), status=status_of(error))
    ports.keys.forget(key_id)
    return see_other(f"{HERE}/{key_id}")


def _check_may(ports: Ports, caller: Caller, action: str, key_id: str | None) -> None:
    """First of all: whoever tries to manage keys and may not is noted, whatever the form holds."""
    with refusals_noted(ports, caller, action, key_id):
        caller.require("admin")


@contextmanager
def _managing(ports: Ports, caller: Caller, action: str, key_id: str | None) -> Iterator[UnitOfWork]:
    with (
        refusals_noted(ports, caller, action, key_id),
        ports.database.unit_of_work(caller.project_id) as unit,
    ):
        yield unit


def _list(
    request: Request,
    ports: Ports,
    caller: Caller,
    after: str | None,
    *,
    shown: Filled | None = None,
    status: int = 200,
) -> Response:
    with ports.database.unit_of_work(caller.project_id) as unit:
        rows, has_more = unit.api_keys.page(caller.project_id, after, PER_PAGE)
    return page(
        request,
        "keys.html",
        status,
        keys=[KeyOut.of(row) for row in rows],
        older=link(HERE, {}, after=rows[-1].id) if has_more else None,
        newest=HERE if after else None,
        form=shown or Filled(chosen=frozenset({"read"})),
        scopes=[(scope, _WHAT_SCOPES_DO[scope]) for scope in SCOPES],
        once=new_once(),
        **_days(),
    )


def _one(
    request: Request,
    ports: Ports,
    caller: Caller,
    key_id: str,
    *,
    rotating: Filled | None = None,
    revoking: Filled | None = None,
    wrong_name: str | None = None,
    status: int = 200,
) -> Response:
    with ports.database.unit_of_work(caller.project_id) as unit:
        row = unit.api_keys.get(caller.project_id, key_id)
        line = [one for one in unit.api_keys.active(caller.project_id) if one.lineage_id == row.lineage_id]
    return page(
        request,
        "key.html",
        status,
        key=KeyOut.of(row),
        others=[KeyOut.of(one) for one in line if one.id != row.id],
        rotating=rotating or Filled(values={"overlap_s": "86400"}),
        revoking=revoking or Filled(),
        wrong_name=wrong_name,
        overlaps=OVERLAPS,
        once=new_once(),
        **_days(),
    )


def _days() -> dict[str, str]:
    """The first and the last day on which a key may end."""
    today = datetime.now(UTC).date()
    last = today + key_management.MAX_LIFETIME - timedelta(days=1)
    return {"first_day": today.isoformat(), "last_day": last.isoformat()}


def _issued(request: Request, row: ApiKey, text: str, *, replaced: ApiKey | None = None) -> Response:
    shown = replaced and KeyOut.of(replaced)
    return page(request, "key_made.html", 201, key=KeyOut.of(row), text=text, replaced=shown)


def _sent_before(request: Request, unit: UnitOfWork, caller: Caller, made_id: str) -> Response:
    key = KeyOut.of(unit.api_keys.get(caller.project_id, made_id))
    return page(request, "key_made.html", key=key, text=None, replaced=None)
