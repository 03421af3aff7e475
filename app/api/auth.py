"""Who calls: the bearer key of a request becomes a `Caller` with the scope that the route needs.

The form and checksum are checked before the database is asked. Authentication is a short transaction of its
own, so that nothing of a request is read, let alone written, for a stranger. Who was recognised a moment ago
is recognised again without it (app/api/recognised.py).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.concurrency import run_in_threadpool

from app.api.ports import Ports, PortsDep
from app.api.problems import request_id_of
from app.domain.errors import Unauthorized
from app.services.api_keys import Caller, PresentedKey, read_key, recognise

bearer = HTTPBearer(
    auto_error=False,
    scheme_name="ApiKey",
    description="`Authorization: Bearer cclip_live_…`: a key of your project, shown once when it was made.",
)


def _caller_with(scope: str | None) -> Callable[..., Awaitable[Caller]]:
    async def caller(
        request: Request,
        ports: PortsDep,
        credentials: Annotated[HTTPAuthorizationCredentials | None, Security(bearer)],
    ) -> Caller:
        remote_addr = request.client.host if request.client else None
        async with ports.rates.failures_counted(remote_addr):
            found = await _identified(ports, credentials, request_id_of(request), remote_addr)
        request.scope["key_id"] = found.key_id
        await ports.rates.count(request.scope, found.project_id)
        if scope is not None:
            found.require(scope)
        return found

    caller.__name__ = f"caller_with_{scope or 'any_scope'}"
    return caller


async def _identified(
    ports: Ports,
    credentials: HTTPAuthorizationCredentials | None,
    request_id: str,
    remote_addr: str | None,
) -> Caller:
    if credentials is None:
        raise Unauthorized(
            "key_missing", "No API key was given.", "Send the header Authorization: Bearer <your key>."
        )
    presented = read_key(credentials.credentials)
    found = ports.keys.get(presented.secret_sha256, request_id=request_id, remote_addr=remote_addr)
    if found is None:
        asked_at_s = ports.keys.now_s()
        found = await run_in_threadpool(
            _recognised, ports, presented, request_id=request_id, remote_addr=remote_addr
        )
        ports.keys.keep(presented.secret_sha256, found, asked_at_s=asked_at_s)
    return found


def _recognised(ports: Ports, presented: PresentedKey, *, request_id: str, remote_addr: str | None) -> Caller:
    with ports.database.unit_of_work(key_sha256=presented.secret_sha256) as unit:
        return recognise(unit, presented, request_id=request_id, remote_addr=remote_addr)


Known = Annotated[Caller, Depends(_caller_with(None))]
"""Whoever has a valid key, whatever it may do."""
Reader = Annotated[Caller, Depends(_caller_with("read"))]
Uploader = Annotated[Caller, Depends(_caller_with("upload"))]
Runner = Annotated[Caller, Depends(_caller_with("run"))]
Admin = Annotated[Caller, Depends(_caller_with("admin"))]
