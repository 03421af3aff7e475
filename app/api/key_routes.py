"""Routes of API keys: make, list, read, rotate, revoke. Scope admin, and every refusal leaves a line.

A key goes out once. The stored answer for a repeated Idempotency-Key has `key` null: what is not written
down cannot leak from the table; whoever lost the first answer revokes the key and makes another.
"""

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Body, Depends, Request
from starlette.responses import Response

from app.api.answers import json_answer, page_of, refusals
from app.api.auth import Admin, Known
from app.api.idempotency import Once, OnceDep
from app.api.paths import After, KeyPath, Limit
from app.api.turns import IN_TURN
from app.db.models.project import ApiKey
from app.db.unit_of_work import UnitOfWork
from app.domain.ids import is_id
from app.domain.limits import DEFAULT_PAGE
from app.edge.refused_actions import refusals_noted
from app.live.ports import PortsDep
from app.schemas.common import RenameIn
from app.schemas.key_shapes import IssuedKeyOut, KeyIn, KeyOut, KeyPage, RotateIn
from app.services import key_management
from app.services.api_keys import Caller

router = APIRouter(prefix="/v1/keys", tags=["keys"])


def _manager(action: str) -> Callable[..., Caller]:
    """A caller who may manage keys; whoever tries without being one is noted."""

    def manager(request: Request, caller: Known, ports: PortsDep) -> Caller:
        named = request.path_params.get("key_id", "")
        with refusals_noted(ports, caller, action, named if is_id("key", named) else None):
            caller.require("admin")
        return caller

    return manager


Creator = Annotated[Caller, Depends(_manager("key.create"))]
Renamer = Annotated[Caller, Depends(_manager("key.rename"))]
Rotator = Annotated[Caller, Depends(_manager("key.rotate"))]
Revoker = Annotated[Caller, Depends(_manager("key.revoke"))]


@router.post(
    "",
    summary="Create a key of this project",
    status_code=201,
    response_model=IssuedKeyOut,
    responses=refusals(409, 413, 422),
)
def create_key(body: KeyIn, caller: Creator, ports: PortsDep, once: OnceDep) -> Response:
    """Only this answer holds the key. A request repeated with the same Idempotency-Key returns `key` null,
    because the key is not stored; if the first answer was lost, revoke the key and create another."""
    with (
        refusals_noted(ports, caller, "key.create", None),
        ports.database.unit_of_work(caller.project_id) as unit,
    ):
        if (answer := once.seen(unit, caller)) is not None:
            return answer
        row, text = key_management.create(
            unit, caller, name=body.name, scopes=body.scopes, expires_at=body.expiry()
        )
        return _issued(unit, once, row, text)


def _issued(unit: UnitOfWork, once: Once, row: ApiKey, text: str) -> Response:
    issued = IssuedKeyOut.issued(row, text)
    headers = {"Location": f"/v1/keys/{row.id}"}
    return once.keep(unit, issued, status=201, headers=headers, stored=issued.without_key())


@router.get(
    "",
    summary="Keys of this project, newest first",
    response_model=KeyPage,
    responses=refusals(422),
    dependencies=[IN_TURN],
)
def list_keys(
    *, caller: Admin, ports: PortsDep, after: After = None, limit: Limit = DEFAULT_PAGE
) -> Response:
    """Revoked and expired ones too. Scope admin."""
    with ports.database.unit_of_work(caller.project_id) as unit:
        rows, has_more = unit.api_keys.page(caller.project_id, after, limit)
    return json_answer(page_of(KeyPage, map(KeyOut.of, rows), has_more))


@router.get(
    "/{key_id}",
    summary="What a key may do, and when it was last used",
    response_model=KeyOut,
    responses=refusals(404),
)
def get_key(key_id: KeyPath, caller: Admin, ports: PortsDep) -> Response:
    """Scope admin."""
    with ports.database.unit_of_work(caller.project_id) as unit:
        row = unit.api_keys.get(caller.project_id, key_id)
    return json_answer(KeyOut.of(row))


@router.patch(
    "/{key_id}", summary="Give a key another name", response_model=KeyOut, responses=refusals(404, 413, 422)
)
def rename_key(key_id: KeyPath, body: RenameIn, caller: Renamer, ports: PortsDep) -> Response:
    """The trail shows the name that a key has now beside its id. Scope admin."""
    with ports.database.unit_of_work(caller.project_id) as unit:
        renamed = KeyOut.of(key_management.rename(unit, caller, key_id, body.name))
    return json_answer(renamed)


@router.post(
    "/{key_id}/rotate",
    summary="Replace a key with a new one",
    status_code=201,
    response_model=IssuedKeyOut,
    responses=refusals(404, 409, 413, 422),
)
def rotate_key(
    key_id: KeyPath,
    caller: Rotator,
    ports: PortsDep,
    once: OnceDep,
    body: Annotated[RotateIn | None, Body()] = None,
) -> Response:
    """Same name, same scopes.

    The old key stays valid for `overlap_s` (default: a day), so that both are active while you switch; a
    third is refused. Only this answer holds the new key. A new admin key may expire earlier than the old one
    only if another admin key stays valid as long.
    """
    order = body or RotateIn()
    with (
        refusals_noted(ports, caller, "key.rotate", key_id),
        ports.database.unit_of_work(caller.project_id) as unit,
    ):
        if (answer := once.seen(unit, caller)) is not None:
            return answer
        row, text = key_management.rotate(
            unit, caller, key_id, overlap_s=order.overlap_s, expires_at=order.expiry()
        )
        answer = _issued(unit, once, row, text)
    ports.keys.forget(key_id)
    return answer


@router.post("/{key_id}/revoke", summary="Revoke a key", response_model=KeyOut, responses=refusals(404, 409))
def revoke_key(key_id: KeyPath, caller: Revoker, ports: PortsDep, once: OnceDep) -> Response:
    """Takes effect at once. A second call changes nothing.

    An admin key is refused if no other admin key stays valid as long: rotate it.
    """
    with (
        refusals_noted(ports, caller, "key.revoke", key_id),
        ports.database.unit_of_work(caller.project_id) as unit,
    ):
        if (answer := once.seen(unit, caller)) is not None:
            return answer
        row = key_management.revoke(unit, caller, key_id)
        answer = once.keep(unit, KeyOut.of(row), status=200)
    ports.keys.forget(key_id)
    return answer
