"""Connections to servers of others: to checked addresses only, and no second longer than a try may take.

The name is resolved here, once; every address that it has must be one that we may reach; the connection goes
to one of exactly these. A name that leads somewhere else a moment later (DNS rebinding) leads us nowhere.
Proxies of the environment are not asked: they would connect for us, to wherever they please. Webhooks are
sent and checkpoints fetched through this; it knows neither.
"""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from queue import Empty, SimpleQueue
from typing import Any

import httpcore

from app.domain.webhook_urls import ReachRules

_MAX_ADDRESSES = 4
Resolve = Callable[[str, int, float], Sequence[str]]
"""(host, port, timeout_s) → addresses, in the order in which to try them; empty where there are none or it
took too long."""


def resolve(host: str, port: int, timeout_s: float) -> Sequence[str]:
    """As this machine resolves names. The system's call knows no timeout: it is left behind in its thread."""
    found: SimpleQueue[Sequence[str]] = SimpleQueue()
    threading.Thread(target=lambda: found.put(_ask(host, port)), name="resolve", daemon=True).start()
    try:
        return found.get(timeout=max(timeout_s, 0.0))
    except Empty:
        return ()


def _ask(host: str, port: int) -> Sequence[str]:
    try:
        answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return ()
    return tuple(dict.fromkeys(str(address[0]) for *_, address in answers))


class NoPublicAddress(Exception):
    """The name has no address, or one that we may not reach."""


class TlsFailed(Exception):
    """No TLS with that server, or its certificate is none for the name."""


class Deadline:
    """The end of a try, whatever it is doing. `idle_s`: the longest wait for the next byte."""

    def __init__(self, timeout_s: float, *, idle_s: float = float("inf")) -> None:
        self._end_s = time.monotonic() + timeout_s
        self._part_s = self._end_s
        self._idle_s = idle_s

    def begin_part(self, seconds: float) -> None:
        """What comes next, until the next part begins, may take so long, whatever comes now and then."""
        self._part_s = time.monotonic() + seconds

    def left_s(self) -> float:
        """Raises httpcore.ReadTimeout where nothing is left."""
        left_s = min(self._end_s, self._part_s) - time.monotonic()
        if left_s <= 0:
            raise httpcore.ReadTimeout("the try took too long")
        return min(left_s, self._idle_s)


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
