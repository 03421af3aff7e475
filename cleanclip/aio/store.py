"""Bytes to and from the object store by presigned URLs. Holds no API key and sends none.

A presigned URL is a secret of its own: messages name its host only. An expired one (403) is replaced by a
fresh one; cut connections and failing stores are tried again.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TypeVar

import httpx

from cleanclip.errors import StoreError, StoreUnreachable
from cleanclip.retries import RETRIED_STATUSES, AsyncClock, Retries, parse_retry_after

T = TypeVar("T")
UrlSource = Callable[[bool], Awaitable[str]]
"""Gives the URL; True asks for a fresh one, because the last was refused."""
OnBytes = Callable[[int], None]
"""Told how many bytes went through; negative when a try was cut and its bytes do not count."""

SLICE_BYTES = 256 * 1024
_EXPIRED = 403
_ALSO_RETRIED = frozenset({408, 500})
_UNREACHABLE = (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol, httpx.ProxyError)


class Store:
    """Safe to use from several threads of the synchronous client."""

    def __init__(self, http: httpx.AsyncClient, *, retries: Retries, clock: AsyncClock) -> None:
        self._http = http
        self._retries = retries
        self._clock = clock

    async def put(
        self, url_of: UrlSource, body: bytes, *, on_bytes: OnBytes, has_connected: bool
    ) -> str | None:
        """Store one part; returns its ETag. Unless the store `has_connected` before, an unreachable one is
        given up after two tries. Raises StoreUnreachable, StoreError."""

        async def once(url: str) -> str | None:
            sent = _Counted(on_bytes)
            try:
                answer = await self._http.put(
                    url,
                    content=sent.slices(body),
                    headers={
                        "Content-Length": str(len(body)),
                        "Content-Type": "application/octet-stream",
                    },
                )
                _check(answer, 200)
            except BaseException:
                sent.take_back()
                raise
            etag: str | None = answer.headers.get("ETag")
            return etag

        return await self._persist(url_of, once, num_tries_to_connect=None if has_connected else 2)

    async def get_range(
        self,
        url_of: UrlSource,
        start: int,
        end: int,
        *,
        write: Callable[[bytes], object],
        rewind: Callable[[], object],
        on_bytes: OnBytes,
    ) -> None:
        """Bytes [start, end) to `write`; `rewind` is called before every try. Raises StoreError."""

        async def once(url: str) -> None:
            rewind()
            received = _Counted(on_bytes)
            try:
                async with self._http.stream(
                    "GET",
                    url,
                    headers={"Range": f"bytes={start}-{end - 1}", "Accept-Encoding": "identity"},
                ) as answer:
                    if answer.status_code != 206:
                        await answer.aread()
                    _check(answer, 206)
                    async for piece in answer.aiter_raw():
                        write(piece)
                        received.add(len(piece))
                if received.num_bytes != end - start:
                    raise httpx.RemoteProtocolError("the body ended early")
            except BaseException:
                received.take_back()
                raise

        await self._persist(url_of, once)

    async def _persist(
        self,
        url_of: UrlSource,
        once: Callable[[str], Awaitable[T]],
        *,
        num_tries_to_connect: int | None = None,
    ) -> T:
        num_tried = num_expired = 0
        is_fresh_wanted = False
        while True:
            num_tried += 1
            url = await url_of(is_fresh_wanted)
            is_fresh_wanted = False
            try:
                return await once(url)
            except httpx.TransportError as cause:
                error: StoreError = _silent(url, cause)
                pause_s = self._retries.pause_s(num_tried)
                if num_tries_to_connect is not None and isinstance(error, StoreUnreachable):
                    pause_s = None if num_tried >= num_tries_to_connect else pause_s
                if pause_s is None:
                    raise error from cause
            except _Refused as refusal:
                error = StoreError(refusal.sentence(url), status=refusal.status)
                is_fresh_wanted = refusal.status == _EXPIRED and num_expired < 2
                num_expired += is_fresh_wanted
                if not (is_fresh_wanted or refusal.is_passing):
                    raise error from None
                pause_s = self._retries.pause_s(num_tried, refusal.retry_after_s)
                if pause_s is None:
                    raise error from None
            await self._clock.sleep(0.0 if is_fresh_wanted else pause_s)


class _Counted:
    """Reports bytes as they pass, and takes them back when the try fails."""

    def __init__(self, on_bytes: OnBytes) -> None:
        self._on_bytes = on_bytes
        self.num_bytes = 0

    def add(self, num_bytes: int) -> None:
        self.num_bytes += num_bytes
        self._on_bytes(num_bytes)

    async def slices(self, body: bytes) -> AsyncIterator[bytes]:
        for start in range(0, len(body), SLICE_BYTES):
            piece = body[start : start + SLICE_BYTES]
            yield piece
            self.add(len(piece))

    def take_back(self) -> None:
        if self.num_bytes:
            self._on_bytes(-self.num_bytes)


class _Refused(Exception):
    def __init__(self, status: int, headers: Mapping[str, str]) -> None:
        super().__init__(status)
        self.status = status
        self.retry_after_s = parse_retry_after(headers.get("Retry-After"))

    @property
    def is_passing(self) -> bool:
        return self.status in RETRIED_STATUSES or self.status in _ALSO_RETRIED

    def sentence(self, url: str) -> str:
        return f"The object store at {_host(url)} answered {self.status}."


def _check(answer: httpx.Response, wanted: int) -> None:
    if answer.status_code != wanted:
        raise _Refused(answer.status_code, answer.headers)


def _host(url: str) -> str:
    try:
        return httpx.URL(url).netloc.decode("ascii", "replace").rpartition("@")[2]
    except httpx.InvalidURL:
        return "an address that cannot be read"


def _silent(url: str, cause: httpx.TransportError) -> StoreError:
    kind = StoreUnreachable if isinstance(cause, _UNREACHABLE) else StoreError
    return kind(f"The object store at {_host(url)} does not answer: {str(cause) or type(cause).__name__}.")
