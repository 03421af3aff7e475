"""Failures as pages: what happened, what to do, the request's id, in the sentences of the API's problems."""

from http import HTTPStatus
from pathlib import PurePosixPath
from urllib.parse import urlencode, urlsplit

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.domain.errors import DomainError, Unauthorized, Unavailable
from app.edge.error_codes import status_of
from app.edge.request_labels import request_labels
from app.logs import get_logger
from app.storage.errors import StorageError
from app.web.kit.addresses import HOME, own_path
from app.web.kit.rendering import page, see_other
from app.web.kit.visitor import COOKIE

log = get_logger(__name__)

_KNOWN = {
    404: ("There is nothing at this address.", "Use the menu to continue."),
    405: ("This address does not support this method.", "Use the menu to continue."),
    408: ("What the browser sent did not arrive in time.", "Send it again over a faster connection."),
    413: (
        "The form is larger than this page accepts.",
        "Shorten what you filled in; files are sent in parts.",
    ),
}
_UNEXPECTED = (
    "The service failed to answer; the failure has been logged.",
    "Try again; if it happens again, give the request id to the operator.",
)


def failure(
    request: Request,
    status: int,
    message: str,
    remedy: str | None = None,
    *,
    code: str | None = None,
    pointer: str | None = None,
    retry_after_s: int | None = None,
) -> Response:
    """The page; for htmx its main part only; for a script of ours what it shows of it, and the code."""
    answer: Response
    if wants_json(request):
        body = {"code": code, "message": message, "remedy": remedy, "pointer": pointer}
        answer = JSONResponse(body, status_code=status)
    else:
        template = "failure_part.html" if is_partial(request) else "failure.html"
        answer = page(request, template, status, message=message, remedy=remedy)
    if retry_after_s is not None:
        answer.headers["Retry-After"] = str(retry_after_s)
    return answer


def is_partial(request: Request) -> bool:
    """Whether htmx asks, and a part of a page is wanted."""
    return "hx-request" in request.headers


def wants_json(request: Request) -> bool:
    """Whether a script of ours asks that takes JSON only."""
    return request.headers.get("accept") == "application/json"


def wants_stream(request: Request) -> bool:
    """Whether an EventSource asks: it would follow a redirect, too, and find a page instead of events."""
    return request.headers.get("accept") == "text/event-stream"


def on_domain_error(request: Request, error: Exception) -> Response:
    """A refusal of ours. Who is not signed in is asked to do that, and comes back."""
    assert isinstance(error, DomainError)
    if isinstance(error, Unauthorized) and not wants_json(request) and not wants_stream(request):
        return _to_sign_in(request)
    if isinstance(error, Unavailable):
        log.warning("part_unavailable", code=error.code, cause=repr(error.__cause__))
    return failure(
        request,
        status_of(error),
        error.message,
        error.remedy,
        code=error.code,
        pointer=error.pointer,
        retry_after_s=error.retry_after_s,
    )


def _to_sign_in(request: Request) -> Response:
    """With the page to come back to, and a mark of what is to be said there (sign_in.WHY)."""
    url = str(request.url)
    why: dict[str, str] = {}
    if is_partial(request):
        url, why = request.headers.get("hx-current-url", ""), {"why": "ended"}
    elif request.method != "GET":
        url, why = request.headers.get("referer", url), {"why": "unsent"}
    elif COOKIE in request.cookies:
        why = {"why": "ended"}
    target = f"/ui/sign-in?{urlencode({'next': _page_at(request, url), **why})}"
    if is_partial(request):  # a redirect would be followed unseen, and the sign-in put inside the page
        return Response(status_code=401, headers={"HX-Redirect": target})
    return see_other(target)


def _page_at(request: Request, url: str) -> str:
    """Path and query of a page of ours; of an address that only takes forms, the page above it."""
    try:
        parts = urlsplit(url)
    except ValueError:  # "https://["
        return HOME
    if parts.netloc != request.url.netloc:
        return HOME
    if _is_shown(request, parts.path):
        return own_path(f"{parts.path}?{parts.query}".rstrip("?"))
    above = (str(path) for path in PurePosixPath(parts.path).parents)
    return own_path(next((path for path in above if _is_shown(request, path)), HOME))


def _is_shown(request: Request, path: str) -> bool:
    scope = {"type": "http", "method": "GET", "path": path, "root_path": request.scope["root_path"]}
    return any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)


def on_storage_error(request: Request, error: Exception) -> Response:
    """An operator must know, a person may try again."""
    log.error("store_failed", exc_info=error)
    return failure(
        request, 503, "The object store did not do what the service asked.", "Try again in a few seconds."
    )


def on_http_error(request: Request, error: Exception) -> Response:
    """What the framework refuses."""
    assert isinstance(error, HTTPException)
    message, remedy = _KNOWN.get(error.status_code, (HTTPStatus(error.status_code).phrase + ".", None))
    answer = failure(request, error.status_code, message, remedy)
    answer.headers.update(error.headers or {})
    return answer


def on_invalid_request(request: Request, error: Exception) -> Response:
    """A value in an address that has not the form of one: no such page."""
    assert isinstance(error, RequestValidationError)
    return failure(request, 404, *_KNOWN[404])


class UnexpectedMiddleware:
    """Answers what nobody expected with a page, and logs it as the API's outermost middleware does. Half an
    answer is left to that one. Plain ASGI: streams pass through."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_begun = False

        async def send_noted(message: Message) -> None:
            nonlocal is_begun
            is_begun = True
            await send(message)

        try:
            await self._app(scope, receive, send_noted)
        except Exception:
            if is_begun or scope["type"] != "http":
                raise
            log.exception("request_failed", **request_labels(scope))
            answer = failure(Request(scope), 500, *_UNEXPECTED, code="internal_error")
            await answer(scope, receive, send)


def install(pages: FastAPI) -> None:
    """Register every handler."""
    pages.add_middleware(UnexpectedMiddleware)
    pages.add_exception_handler(DomainError, on_domain_error)
    pages.add_exception_handler(StorageError, on_storage_error)
    pages.add_exception_handler(HTTPException, on_http_error)
    pages.add_exception_handler(RequestValidationError, on_invalid_request)
