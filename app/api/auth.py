"""Who calls: the bearer key of a request becomes a `Caller` with the scope that the route needs.

The form and checksum are checked before the database is asked, and both before a byte of a body is read: the
framework reads a body before it asks who sends it, and to parse one can take half a second.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.paced_bodies import PacedBody
from app.api.problems import Refused
from app.domain.errors import DomainError, Unauthorized
from app.live.callers import known_caller, remote_addr_of
from app.live.ports import Ports, PortsDep
from app.services.api_keys import Caller, read_key

_CALLER = "caller"
"""In a request's scope, once it is known."""
bearer = HTTPBearer(
    auto_error=False,
    scheme_name="ApiKey",
    description="`Authorization: Bearer cclip_live_…`: a key of your project, shown only at creation.",
)


class KeyFirstMiddleware:
    """Everything below /v1/ that has a body is for those who have a key and are within their request rate;
    a large body is read when the project has a turn."""

    def __init__(self, app: ASGIApp, ports: Ports) -> None:
        self._app = app
        self._ports = ports

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/v1/"):
            await self._app(scope, receive, send)
            return

        async def receive_known() -> Message:
            try:
                caller = scope.get(_CALLER) or await _counted(Request(scope), self._ports)
            except DomainError as refusal:
                raise Refused(refusal) from refusal
            return await body.receive(caller.project_id)

        body = PacedBody(scope, receive, self._ports)
        await self._app(scope, receive_known, send)


def _caller_with(scope: str | None) -> Callable[..., Awaitable[Caller]]:
    async def caller(
        request: Request,
        ports: PortsDep,
        _shown_in_the_document: Annotated[HTTPAuthorizationCredentials | None, Security(bearer)],
    ) -> Caller:
        identity = request.scope.get(_CALLER) or await _counted(request, ports)
        if scope is not None:
            identity.require(scope)
        return identity

    caller.__name__ = f"caller_with_{scope or 'any_scope'}"
    return caller


async def _counted(request: Request, ports: Ports) -> Caller:
    """The holder of the request's key, looked up and counted once in a request. Raises Unauthorized,
    QuotaExceeded."""
    async with ports.rates.failures_counted(remote_addr_of(request)):
        credentials = await bearer(request)
        if credentials is None:
            raise Unauthorized(
                "key_missing", "No API key was given.", "Send the header Authorization: Bearer <your key>."
            )
        identity = await known_caller(request, ports, read_key(credentials.credentials))
    request.scope["key_id"] = identity.key_id
    await ports.rates.count(request.scope, identity.project_id)
    request.scope[_CALLER] = identity
    return identity


Known = Annotated[Caller, Depends(_caller_with(None))]
"""Whoever has a valid key, whatever it may do."""
Reader = Annotated[Caller, Depends(_caller_with("read"))]
Uploader = Annotated[Caller, Depends(_caller_with("upload"))]
Runner = Annotated[Caller, Depends(_caller_with("run"))]
Admin = Annotated[Caller, Depends(_caller_with("admin"))]
