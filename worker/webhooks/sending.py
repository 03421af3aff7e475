"""One try: a POST to a stranger's server, and what of the answer matters. Knows no delivery and no secret.

The status decides. Redirects are not followed; of a refusal the beginning is read, of a success nothing;
nothing is unpacked. Whatever goes wrong is an answer, too: no exception leaves.

Connections to checked addresses only, and no second longer than a try may take.

The name is resolved here, once; every address that it has must be one that we may reach; the connection goes
to one of exactly these. A name that leads somewhere else a moment later (DNS rebinding) leads us nowhere.
Proxies of the environment are not asked: they would connect for us, to wherever they please.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterable, Mapping
from typing import Any

import httpcore
import httpx

from app.domain.errors import InvalidInput
from app.domain.webhook_urls import ReachRules, Target
from app.domain.webhooks import Answer, DeliveryError
from worker.webhooks.addresses import Resolve, resolve

_MAX_ADDRESSES = 4


class NoPublicAddress(Exception):
    """The name has no address, or one that we may not reach."""


class TlsFailed(Exception):
    """No TLS with that server, or its certificate is none for the name."""


class Deadline:
    """The end of a try, whatever it is doing."""

    def __init__(self, timeout_s: float) -> None:
        self._end_s = time.monotonic() + timeout_s

    def left_s(self) -> float:
        """Raises httpcore.ReadTimeout where nothing is left."""
        left_s = self._end_s - time.monotonic()
        if left_s <= 0:
            raise httpcore.ReadTimeout("the try took too long")
        return left_s


class CheckedBackend(httpcore.NetworkBackend):
    """For one try. Raises NoPublicAddress where others would connect, TlsFailed."""

    def __init__(self, rules: ReachRules, resolve: Resolve, deadline: Deadline, *, is_plain: bool) -> None:
        self._rules = rules
        self._resolve = resolve
        self._deadline = deadline
        self._is_plain = is_plain
        self._plain_backend = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        addresses = self._resolve(host, port, self._deadline.left_s())
        if not addresses or not all(self._rules.may_reach(one, is_plain=self._is_plain) for one in addresses):
            raise NoPublicAddress
        tried = addresses[:_MAX_ADDRESSES]
        for num_left, address in zip(range(len(tried) - 1, -1, -1), tried, strict=True):
            try:
                within_s = self._deadline.left_s() / (num_left + 1)  # the others must have their turn
                stream = self._plain_backend.connect_tcp(address, port, within_s, None, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if num_left == 0:
                    raise
            else:
                return _BoundedStream(stream, self._deadline)
        raise AssertionError("there is at least one address")


class _BoundedStream(httpcore.NetworkStream):
    """A stream whose every wait ends with the try: a byte now and then prolongs nothing."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._deadline.left_s())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._deadline.left_s())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        try:
            secured = self._stream.start_tls(ssl_context, server_hostname, self._deadline.left_s())
        except httpcore.ConnectError as failure:
            raise TlsFailed from failure
        return _BoundedStream(secured, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


MAX_READ_BYTES = 4096
MAX_EXCERPT_CHARACTERS = 500


class Sender:
    """Sends from any thread. `tls` and `resolve_name` replace the system's in tests."""

    def __init__(
        self,
        rules: ReachRules,
        *,
        timeout_s: float,
        resolve_name: Resolve = resolve,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._rules = rules
        self._timeout_s = timeout_s
        self._resolve = resolve_name
        self._tls = tls or httpx.create_ssl_context()

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send `body` once, and say how it ended."""
        started_s = time.monotonic()
        try:
            target = self._rules.check(url)
        except InvalidInput:
            return Answer(error=DeliveryError.URL_REFUSED)
        status, excerpt, retry_after_s, error = None, None, 0.0, None
        try:
            status, excerpt, retry_after_s = self._post(target, headers, body)
            error = _judged(status)
        except NoPublicAddress:
            error = DeliveryError.NO_PUBLIC_ADDRESS
        except httpcore.TimeoutException:
            error = DeliveryError.TIMED_OUT
        except TlsFailed:
            error = DeliveryError.TLS_FAILED
        except httpcore.NetworkError:
            error = DeliveryError.NO_CONNECTION
        except (httpcore.ProtocolError, ValueError):
            error = DeliveryError.BAD_ANSWER
        return Answer(
            error=error,
            status=status,
            excerpt=excerpt,
            took_s=time.monotonic() - started_s,
            retry_after_s=retry_after_s,
        )

    def _post(self, target: Target, headers: Mapping[str, str], body: bytes) -> tuple[int, str | None, float]:
        backend = CheckedBackend(
            self._rules, self._resolve, Deadline(self._timeout_s), is_plain=target.is_plain
        )
        url = httpcore.URL(
            scheme="http" if target.is_plain else "https",
            host=target.host,
            port=target.port,
            target=target.path,
        )
        with (
            httpcore.ConnectionPool(ssl_context=self._tls, network_backend=backend) as pool,
            pool.stream("POST", url, headers=_all_headers(target, headers, body), content=body) as answer,
        ):
            is_refusal = not 200 <= answer.status < 300
            excerpt = _excerpt(answer) if is_refusal else None
            return answer.status, excerpt, _retry_after_s(answer) if is_refusal else 0.0


def _all_headers(
    target: Target, headers: Mapping[str, str], body: bytes
) -> list[tuple[bytes | str, bytes | str]]:
    return [
        ("Host", target.authority),
        ("Accept", "*/*"),
        ("Accept-Encoding", "identity"),
        ("Connection", "close"),
        ("Content-Length", str(len(body))),
        ("Content-Type", "application/json"),
        ("User-Agent", "CleanCLIP-Webhooks"),
        *headers.items(),
    ]


def _judged(status: int) -> DeliveryError | None:
    if 200 <= status < 300:
        return None
    return DeliveryError.REDIRECTED if 300 <= status < 400 else DeliveryError.REFUSED


def _excerpt(answer: httpcore.Response) -> str | None:
    """What a person may want to read of it; printable characters on one line."""
    read = b""
    try:
        for chunk in answer.iter_stream():
            read += chunk[: MAX_READ_BYTES - len(read)]
            if len(read) >= MAX_READ_BYTES:
                break
    except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError):
        pass  # the status has come, and that is what counts
    text = read.decode("utf-8", "replace")
    shown = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(shown.split())[:MAX_EXCERPT_CHARACTERS] or None


def _retry_after_s(answer: httpcore.Response) -> float:
    """In seconds, where a server that is busy says so; dates are not read."""
    given = [value for name, value in answer.headers if name.lower() == b"retry-after"]
    if answer.status not in {429, 503} or not given:
        return 0.0
    text = given[0].strip()
    return float(text) if text.isdigit() and len(text) < 10 else 0.0
