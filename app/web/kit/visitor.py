"""Who looks at a page: the session of the browser's cookie, and what every page is rendered with.

Every form of a session carries its form token; what a script sends carries it as the header X-Form-Token.
Requests that change something and come from another site are refused besides, signed in or not.
"""

import hmac
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import parse_qsl

from fastapi import Depends, Request
from starlette.concurrency import run_in_threadpool

from app.domain.errors import Forbidden, InvalidInput
from app.live.callers import known_caller
from app.live.ports import Ports, PortsDep
from app.services import sessions
from app.services.api_keys import Caller
from app.services.sessions import FoundSession, form_token, token_digest

COOKIE = "cleanclip_session"
MAX_FORM_FIELDS = 500


@dataclass(frozen=True, kw_only=True)
class Visitor:
    """A signed-in browser. `form_token` goes into every form of its pages."""

    caller: Caller
    token: str
    form_token: str

    def may(self, scope: str) -> bool:
        """Whether the key has the scope: what a page offers. Use cases check it again."""
        return bool(self.caller.scopes & {scope, "admin"})


class Form:
    """The fields of a form that was sent, as text; a field may come several times."""

    def __init__(self, fields: Sequence[tuple[str, str]]) -> None:
        self._fields = tuple(fields)

    def get(self, name: str, default: str = "") -> str:
        """The last value, without blanks around it."""
        return next((value.strip() for key, value in reversed(self._fields) if key == name), default)

    def all(self, name: str) -> list[str]:
        return [value for key, value in self._fields if key == name]

    def names(self) -> set[str]:
        return {key for key, _ in self._fields}


async def find_visitor(request: Request, ports: Ports) -> Visitor:
    """Raises Unauthorized, QuotaExceeded."""
    token = request.cookies.get(COOKIE)
    if token is None:
        raise sessions.ended("You are not signed in.")
    found = await run_in_threadpool(_find, ports, token)
    caller = await known_caller(request, ports, found.key)
    request.scope["key_id"] = caller.key_id
    await ports.rates.count(request.scope, caller.project_id)
    return Visitor(caller=caller, token=token, form_token=form_token(token))


def _find(ports: Ports, token: str) -> FoundSession:
    with ports.database.unit_of_work(session_sha256=token_digest(token)) as unit:
        return sessions.find(unit, token)


def _visitor_with(scope: str | None) -> Callable[..., Awaitable[Visitor]]:
    async def visitor(request: Request, ports: PortsDep) -> Visitor:
        found = await find_visitor(request, ports)
        request.state.visitor = found  # a failure's page still shows the menu
        if scope is not None:
            found.caller.require(scope)
        return found

    visitor.__name__ = f"visitor_with_{scope or 'any_scope'}"
    return visitor


async def read_form(request: Request) -> Form:
    """Raises InvalidInput, Forbidden (`form_expired`) for what comes from another site."""
    check_same_site(request)
    try:
        fields = parse_qsl(
            (await request.body()).decode(),
            keep_blank_values=True,
            strict_parsing=False,
            errors="strict",
            max_num_fields=MAX_FORM_FIELDS,
        )
    except ValueError as error:  # UnicodeDecodeError is one
        raise unreadable_form() from error
    return Form(fields)


def unreadable_form(message: str = "The form could not be read.") -> InvalidInput:
    """What a page never sends."""
    return InvalidInput("form_unreadable", message, "Reload the page, and send the form again.")


def check_same_site(request: Request) -> None:
    """By what the browser says of itself: Sec-Fetch-Site, or Origin of those that do not know it."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    is_ours = site in ("same-origin", "none") if site else not origin or _is_own(origin, request)
    if not is_ours:
        raise _foreign()


def _is_own(origin: str, request: Request) -> bool:
    return origin.partition("://")[2] == request.headers.get("host")


async def _form_of_session(request: Request) -> Form:
    form = await read_form(request)
    given = form.get("form_token") or request.headers.get("x-form-token", "")
    expected = form_token(request.cookies.get(COOKIE, ""))
    if not hmac.compare_digest(given.encode(), expected.encode()):
        raise _foreign()
    return form


def _foreign() -> Forbidden:
    return Forbidden(
        "form_expired",
        "The form belongs to another session: it was opened before you signed in, or by another site.",
        "Go back, reload the page, and send it again.",
    )


AnyVisitor = Annotated[Visitor, Depends(_visitor_with(None))]
Reader = Annotated[Visitor, Depends(_visitor_with("read"))]
Uploader = Annotated[Visitor, Depends(_visitor_with("upload"))]
Runner = Annotated[Visitor, Depends(_visitor_with("run"))]
Admin = Annotated[Visitor, Depends(_visitor_with("admin"))]
FormDep = Annotated[Form, Depends(_form_of_session)]
"""Declare it after the visitor: who is not signed in is asked to do that first."""
