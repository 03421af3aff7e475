"""Who calls: the bearer key of a request becomes a `Caller` with the scope that the route needs.

The form and checksum are checked before the database is asked, and both before a byte of a body is read: the
framework reads a body before it asks who sends it, and to parse one can take half a second.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.middleware import NUM_VALUES, is_streamed
from app.api.problems import Refused
from app.domain.errors import DomainError, Unauthorized
from app.live.callers import known_caller, remote_addr_of
from app.live.ports import Ports, PortsDep
from app.services.api_keys import Caller, read_key

_CALLER = "caller"
"""In a request's scope, once it is known."""
_WITHOUT_BODY = frozenset({"GET", "HEAD"})
bearer = HTTPBearer(
    auto_error=False,
    scheme_name="ApiKey",
    description="`Authorization: Bearer cclip_live_…`: a key of your project, shown only at creation.",
)


class _PacedBody:
    """Of one request: a large one is read when the project has a turn (`app.live.pacing`), and not before.
    The streaming upload, which is never parsed, has limits of its own."""

    def __init__(self, scope: Scope, receive: Receive, ports: Ports) -> None:
        self._scope, self._receive, self._pace = scope, receive, ports.pace
        self._is_paced = scope["method"] not in _WITHOUT_BODY and not is_streamed(scope)
        self._is_begun = False
        headers, most = Headers(scope=scope), ports.settings.api.max_body_bytes
        announced = headers.get("content-length", "0")
        is_known = announced.isdecimal() and "transfer-encoding" not in headers
        self._num_bytes = min(int(announced[:20]), most) if is_known else most

    async def receive(self, project_id: str) -> Message:
        """The next message. Raises Refused before the first."""
        if self._is_paced and not self._is_begun:
            self._is_begun = True
            try:
                await self._pace.before(project_id, self._num_bytes)
            except DomainError as refusal:
                raise Refused(refusal, headers={"Connection": "close"}) from refusal
        message = await self._receive()
        if self._is_paced and message["type"] == "http.request" and not message.get("more_body", False):
            self._pace.after(project_id, self._num_bytes, self._scope.get(NUM_VALUES, 0))
        return message


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

        body = _PacedBody(scope, receive, self._ports)
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
