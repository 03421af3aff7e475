"""Around every request, in plain ASGI: its id, its log line, its metrics, safe headers, limits on its body,
and on the patience with who sends or takes too slowly.

The one route that it names is the streaming upload, which has its own limit. Pure ASGI because a wrapper that
buffers or spawns tasks would break streaming and cancellation.
"""

import asyncio
import contextlib
import re
import time
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.problems import Refused, problem
from app.domain.errors import TooLarge
from app.domain.ids import is_any_id, new_id
from app.edge.request_labels import request_labels
from app.live.metrics import Metrics
from app.live.request_rates import rate_headers
from app.logs import bind, get_logger

log = get_logger(__name__)

_REQUEST_ID = re.compile(r"(?!req_|cclip_)[A-Za-z0-9][A-Za-z0-9._-]{7,99}")
"""What a caller may call its request. `req_` stands before our own only: another id is the caller's word.
And no key: this id is logged and kept in the trail."""
_STREAMED = re.compile(r"/v1/uploads/[^/]+/content")
_WITHOUT_BODY = frozenset({"GET", "HEAD"})
"""Nobody reads theirs: who listens there waits for the goodbye."""
NUM_VALUES = "num_body_values"
"""In a request's scope: of what has come of its body, for whoever counts what it costs to parse."""
_MOST_READ_AWAY = 16 * 1024 * 1024
_QUIET = frozenset({"/healthz", "/readyz", "/metrics"})
SAFE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}


@dataclass
class _Seen:
    status: int = 0
    num_bytes: int = 0


class _SlowReader(Exception):
    """The client took nothing of its answer for too long."""


class RequestMiddleware:
    """Outermost: gives the request its id, answers what nobody expected with a 500, counts and logs."""

    def __init__(self, app: ASGIApp, metrics: Metrics, send_timeout_s: float) -> None:
        self._app = app
        self._metrics = metrics
        self._send_timeout_s = send_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else new_id("req")
        scope["request_id"] = request_id
        seen = _Seen()

        async def send_marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen.status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                headers.update(rate_headers(scope))
                for name, value in SAFE_HEADERS.items():
                    headers.setdefault(name, value)
            elif message["type"] == "http.response.body":
                seen.num_bytes += len(message.get("body", b""))
            await self._hand_on(message, send)

        started = time.perf_counter()
        self._metrics.in_flight.inc()
        with bind(request_id=request_id):
            try:
                await self._app(scope, receive, send_marked)
            except _SlowReader:
                log.info("slow_reader_dropped", **request_labels(scope))  # the server closes what has no end
            except Exception:
                log.exception("request_failed", **request_labels(scope))
                if seen.status:
                    raise  # half an answer is out: only closing the connection is honest
                await self._server_error(request_id)(scope, receive, send_marked)
            finally:
                self._metrics.in_flight.dec()
                self._note(scope, seen, time.perf_counter() - started)

    async def _hand_on(self, message: Message, send: Send) -> None:
        try:
            async with asyncio.timeout(self._send_timeout_s):
                await send(message)
        except TimeoutError:
            raise _SlowReader from None

    @staticmethod
    def _server_error(request_id: str) -> ASGIApp:
        return problem(
            code="internal_error",
            detail="The service failed to answer; the failure has been logged.",
            remedy="Try again; if it happens again, give the request id to the operator.",
            request_id=request_id,
        )

    def _note(self, scope: Scope, seen: _Seen, seconds: float) -> None:
        what = request_labels(scope)
        self._metrics.observe(method=what["method"], route=what["route"], status=seen.status, seconds=seconds)
        if scope["path"] in _QUIET and seen.status < 400:
            return
        client = scope.get("client")
        log.info(
            "request",
            **what,
            ids=[text for text in scope.get("path_params", {}).values() if is_any_id(str(text))],
            status=seen.status,
            duration_ms=round(1000 * seconds, 2),
            num_bytes=seen.num_bytes,
            key_id=scope.get("key_id"),
            remote_addr=client[0] if client else None,
        )


async def _read_away(receive: Receive, ends_s: float) -> None:
    """Most of what is sent: a browser that is cut off while it sends may not show the answer."""
    left = _MOST_READ_AWAY
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout_at(ends_s):
            while left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                if not message.get("more_body", False):
                    return


def is_streamed(scope: Scope) -> bool:
    """Whether it is the streaming upload, whose body is handed on and never parsed."""
    return scope["method"] == "PUT" and _STREAMED.fullmatch(scope["path"]) is not None


def _num_separators(body: bytes) -> int:
    """As many at least as there are values of JSON, but for one."""
    return body.count(b",") + body.count(b"[") + body.count(b"{")


class BodyLimitMiddleware:
    """Refuses bodies over `max_bytes`, announced or not, those of more than `max_values` values (to parse a
    MiB of `[],` takes half a second, in which nobody else is served), those not there after `timeout_s`,
    everywhere but at the streaming upload. Below `pages` the reader of a form is notified, and makes the
    answer: a refusal there is a page."""

    def __init__(self, app: ASGIApp, max_bytes: int, max_values: int, timeout_s: float, pages: str) -> None:
        self._app = app
        self._max_values = max_values
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self._pages = f"{pages}/"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or is_streamed(scope):
            await self._app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "0")
        is_too_large = announced.isdecimal() and int(announced[:20]) > self._max_bytes
        if is_too_large and not self._is_form(scope):
            await self._refusal(scope)(scope, receive, send)
            return
        num_bytes = num_values = 0
        is_whole = scope["method"] in _WITHOUT_BODY
        ends_s = asyncio.get_running_loop().time() + self._timeout_s

        async def receive_limited() -> Message:
            nonlocal num_bytes, num_values, is_whole
            if is_too_large:
                await _read_away(receive, ends_s)
                raise HTTPException(413, headers={"Connection": "close"})
            try:
                async with asyncio.timeout_at(None if is_whole else ends_s):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, headers={"Connection": "close"}) from None
            if message["type"] == "http.request":
                is_whole = is_whole or not message.get("more_body", False)
                num_bytes += len(message.get("body", b""))
                if num_bytes > self._max_bytes:
                    raise HTTPException(413, headers={"Connection": "close"})
                num_values += _num_separators(message.get("body", b""))
                if num_values > self._max_values:
                    raise self._too_complex()
                scope[NUM_VALUES] = num_values
            return message

        await self._app(scope, receive_limited, send)

    def _too_complex(self) -> Refused:
        reason = TooLarge(
            "body_too_complex",
            f"The body has more than {self._max_values} values.",
            "Split what you send into several requests.",
        )
        return Refused(reason, headers={"Connection": "close"})

    def _is_form(self, scope: Scope) -> bool:
        return scope["method"] not in _WITHOUT_BODY and scope["path"].startswith(self._pages)

    @staticmethod
    def _refusal(scope: Scope) -> ASGIApp:
        return problem(
            code="body_too_large",
            detail="The body is larger than this address takes.",
            remedy="Upload files in parts.",
            request_id=scope["request_id"],
            headers={"Connection": "close"},
        )
