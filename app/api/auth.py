"""Who calls: the bearer key of a request becomes a `Caller` with the scope that the route needs.

The form and checksum are checked before the database is asked.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from app.domain.errors import Unauthorized
from app.process.callers import known_caller, remote_addr_of
from app.process.ports import Ports, PortsDep
from app.services.api_keys import Caller, read_key

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
        async with ports.rates.failures_counted(remote_addr_of(request)):
            found = await _identified(request, ports, credentials)
        request.scope["key_id"] = found.key_id
        await ports.rates.count(request.scope, found.project_id)
        if scope is not None:
            found.require(scope)
        return found

    caller.__name__ = f"caller_with_{scope or 'any_scope'}"
    return caller


async def _identified(
    request: Request, ports: Ports, credentials: HTTPAuthorizationCredentials | None
) -> Caller:
    if credentials is None:
        raise Unauthorized(
            "key_missing", "No API key was given.", "Send the header Authorization: Bearer <your key>."
        )
    return await known_caller(request, ports, read_key(credentials.credentials))


Known = Annotated[Caller, Depends(_caller_with(None))]
"""Whoever has a valid key, whatever it may do."""
Reader = Annotated[Caller, Depends(_caller_with("read"))]
Uploader = Annotated[Caller, Depends(_caller_with("upload"))]
Runner = Annotated[Caller, Depends(_caller_with("run"))]
Admin = Annotated[Caller, Depends(_caller_with("admin"))]
