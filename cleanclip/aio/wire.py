"""One request to the service: the key, retries, idempotency keys, problems made exceptions.

Every POST carries an Idempotency-Key that stays the same over its retries, so that a lost answer cannot
create a thing twice. The API key goes to the service only: redirects are never followed here, and bytes from
and to the object store go through `client.store`.
"""

import json
import secrets
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from threading import BoundedSemaphore
from typing import Any, TypeVar

import httpx

from cleanclip.errors import ApiError, TransportError, UnexpectedAnswer, api_error
from cleanclip.models import Answer
from cleanclip.retries import RETRIED_STATUSES, AsyncClock, Retries, parse_retry_after
from cleanclip.unreachable import why_unreachable
from cleanclip.vocabulary.strict_json import parse_bounded, refuse_many

A = TypeVar("A", bound=Answer)
Query = Mapping[str, str | int | None]

_IN_FLIGHT = "idempotency_key_in_flight"
_SHARE_USED_UP = "quota_exceeded"
_MAX_STREAMS = 16
"""Long answers that one client holds open; each takes one of its hundred connections from all other calls."""


@dataclass(frozen=True, kw_only=True)
class LongAnswer:
    """An answer that is still coming. Reading `chunks` raises TransportError."""

    media_type: str
    chunks: AsyncIterator[bytes]


class Wire:
    """Speaks to one service with one key. Safe to use from several threads of the synchronous client."""

    def __init__(self, http: httpx.AsyncClient, *, retries: Retries, clock: AsyncClock) -> None:
        self._http = http
        self._retries = retries
        self._streams = BoundedSemaphore(_MAX_STREAMS)
        self.clock = clock

    @property
    def base_url(self) -> str:
        return str(self._http.base_url)

    async def get(self, kind: type[A], path: str, query: Query | None = None) -> A:
        """GET and read the answer. Raises ApiError, TransportError."""
        return self.read(kind, await self.send("GET", path, query=query))

    async def post(
        self,
        kind: type[A],
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> A:
        """POST and read the answer; safe to retry. Raises ApiError, TransportError."""
        headers = {"Idempotency-Key": idempotency_key or secrets.token_hex(16)}
        if body is None:
            return self.read(kind, await self.send("POST", path, headers=headers))
        headers["Content-Type"] = "application/json"
        content = json.dumps(body).encode()
        return self.read(kind, await self.send("POST", path, headers=headers, content=content))

    async def put(self, kind: type[A], path: str, body: Mapping[str, Any]) -> A:
        """PUT JSON and read the answer; the same however often. Raises ApiError, TransportError."""
        content = json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        return self.read(kind, await self.send("PUT", path, headers=headers, content=content))

    async def patch(self, kind: type[A], path: str, body: Mapping[str, Any]) -> A:
        """PATCH JSON and read the answer; the same however often. Raises ApiError, TransportError."""
        content = json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        return self.read(kind, await self.send("PATCH", path, headers=headers, content=content))

    async def delete(self, path: str) -> httpx.Response:
        """DELETE. Not found after a lost answer means that it was done, and is returned. Raises as `get`."""
        return await self.send("DELETE", path, missing_after_retry_is_done=True)

    async def send(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | Callable[[], AsyncIterable[bytes]] | None = None,
        timeout: httpx.Timeout | None = None,
        missing_after_retry_is_done: bool = False,
    ) -> httpx.Response:
        """An answer of status 2xx or 3xx. What gives `content` is called for every try.

        Raises ApiError for a problem, TransportError where there is no answer, after all retries.
        """
        num_tried = 0
        had_no_answer = False
        while True:
            num_tried += 1
            request = self._http.build_request(
                method,
                path,
                params={name: value for name, value in (query or {}).items() if value is not None} or None,
                headers=headers,
                content=content() if callable(content) else content,
                timeout=httpx.USE_CLIENT_DEFAULT if timeout is None else timeout,
            )
            error: ApiError | TransportError
            try:
                answer = await self._http.send(request)
            except httpx.TransportError as cause:
                had_no_answer = True
                error, is_lasting = self._no_answer(cause)
                pause_s = None if is_lasting else self._retries.pause_s(num_tried)
            else:
                is_deleted = missing_after_retry_is_done and had_no_answer and answer.status_code == 404
                if answer.status_code < 400 or is_deleted:
                    return answer
                error = _refusal(answer)
                pause_s = self._pause_after(error, num_tried)
            if pause_s is None:
                raise error
            await self.clock.sleep(pause_s)

    @asynccontextmanager
    async def stream(
        self, path: str, *, headers: Mapping[str, str], silence_s: float
    ) -> AsyncIterator[LongAnswer | None]:
        """GET a long answer; one try. None where this client has many open already.

        Raises ApiError, TransportError; the latter too where nothing comes for `silence_s`.
        """
        if not self._streams.acquire(blocking=False):
            yield None
            return
        try:
            request = self._http.build_request(
                "GET", path, headers=headers, timeout=httpx.Timeout(silence_s, connect=min(10.0, silence_s))
            )
            with self._translated():
                answer = await self._http.send(request, stream=True)
            try:
                if answer.status_code >= 400:
                    with self._translated():
                        await answer.aread()
                    raise _refusal(answer)
                media_type = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
                yield LongAnswer(media_type=media_type, chunks=self._chunks(answer))
            finally:
                await answer.aclose()
        finally:
            self._streams.release()

    async def _chunks(self, answer: httpx.Response) -> AsyncIterator[bytes]:
        with self._translated():
            async for chunk in answer.aiter_bytes():
                yield chunk

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """What goes wrong on the line, as ours."""
        try:
            yield
        except httpx.RequestError as cause:
            raise self._no_answer(cause)[0] from cause

    def _no_answer(self, cause: httpx.RequestError) -> tuple[TransportError, bool]:
        """And whether another try would end in the same way."""
        message, remedy, is_lasting = why_unreachable(self._http.base_url, cause)
        return TransportError(f"{self._where()} does not answer: {message} {remedy}".rstrip()), is_lasting

    def _pause_after(self, error: ApiError, num_tried: int) -> float | None:
        if error.code == _SHARE_USED_UP:
            return None  # what ends that is a job's end or a deletion, not a moment
        if error.status in RETRIED_STATUSES or error.code == _IN_FLIGHT:
            return self._retries.pause_s(num_tried, error.retry_after_s)
        return None

    def _where(self) -> str:
        return f"The service at {self._http.base_url.copy_with(username=None, password=None)}".rstrip("/")

    def read(self, kind: type[A], answer: httpx.Response) -> A:
        """The body as `kind`. Raises UnexpectedAnswer."""
        try:
            refuse_many(answer.content)
            return kind.model_validate_json(answer.content)
        except ValueError as cause:
            raise UnexpectedAnswer(
                f"{self._where()} gave an answer that is not a {kind.__name__}. Check the address."
            ) from cause


def _refusal(answer: httpx.Response) -> ApiError:
    try:
        problem = parse_bounded(answer.content)
    except ValueError:
        problem = {}
    retry_after_s = parse_retry_after(answer.headers.get("Retry-After"))
    return api_error(
        answer.status_code, problem if isinstance(problem, dict) else {}, retry_after_s=retry_after_s
    )
