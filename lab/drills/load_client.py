"""A small load generator: keep-alive connections, one process, one thread, no library.

    python -m lab.drills.load_client < order.json > measured.json

Two ways to ask. Without a `rate`, each connection sends its next request when it has its answer: what the
service can do at most. With one, requests are due at fixed times whether or not answers come, and a
latency counts from when the request was *due*, so that a service that stands still is seen to.
Answers are counted by status; a body is read to its end and thrown away. Does not depend on the service.
"""

from __future__ import annotations

import json
import re
import select
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from lab.drills.records import ROOT

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.I)
_CHUNK = 1 << 16
_WITHOUT_BODY = {204, 304}


@dataclass(frozen=True, kw_only=True)
class Order:
    """`requests` are sent in turn, each a whole HTTP/1.1 request as text; `{n}` in it becomes a counter."""

    port: int
    requests: list[str]
    seconds: float
    num_connections: int = 16
    rate: float | None = None
    """Requests per second; None: as fast as answers come."""


@dataclass(kw_only=True)
class Measured:
    """Latencies in seconds, in the order in which answers came."""

    latencies_s: list[float] = field(default_factory=list)
    statuses: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    num_broken: int = 0
    """Connections that ended before their answer did."""

    @property
    def per_second(self) -> float:
        return len(self.latencies_s) / self.seconds if self.seconds else 0.0

    def quantile_ms(self, share: float) -> float:
        return quantile_ms(self.latencies_s, share)


def quantile_ms(times_s: Sequence[float], share: float) -> float:
    """That share of the times is shorter; not a number where there are none."""
    ordered = sorted(times_s)
    return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


class _Connection:
    def __init__(self, port: int) -> None:
        self._port = port
        self.due_s = 0.0
        self.received = b""
        self.unsent = memoryview(b"")
        self.socket = self._connect()

    def _connect(self) -> socket.socket:
        one = socket.create_connection(("127.0.0.1", self._port), timeout=30)
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        one.setblocking(False)
        return one

    def begin(self, request: bytes, due_s: float) -> None:
        self.due_s = due_s
        self.received = b""
        self.unsent = memoryview(request)

    def send(self) -> None:
        """As much as is taken now. A server that ends the connection is noticed when its answer is read."""
        try:
            self.unsent = self.unsent[self.socket.send(self.unsent) :]
        except BlockingIOError:
            return
        except OSError:
            self.unsent = memoryview(b"")

    def again(self) -> None:
        self.socket.close()
        self.unsent = memoryview(b"")
        self.socket = self._connect()

    def status(self) -> int | None:
        """The status once the whole answer is there."""
        end = self.received.find(b"\r\n\r\n")
        if end < 0:
            return None
        status = int(self.received[9:12])
        if status in _WITHOUT_BODY:
            return status
        length = _LENGTH.search(self.received, 0, end + 2)
        size = int(length[1]) if length else 0
        return status if len(self.received) >= end + 4 + size else None


class _Load:
    def __init__(self, order: Order) -> None:
        self._order = order
        self._requests = [text.encode() for text in order.requests]
        self._num_sent = 0
        self._polling = select.epoll()
        self._by_fd: dict[int, _Connection] = {}
        self._idle: deque[_Connection] = deque()
        self.measured = Measured()
        for _ in range(order.num_connections):
            self._admit(_Connection(order.port))

    def _admit(self, connection: _Connection) -> None:
        self._by_fd[connection.socket.fileno()] = connection
        self._polling.register(connection.socket.fileno(), select.EPOLLIN)
        self._idle.append(connection)

    def run(self) -> Measured:
        began = time.perf_counter()
        until = began + self._order.seconds
        while (now := time.perf_counter()) < until:
            self._send_what_is_due(began, now)
            for fd, events in self._polling.poll(0.001 if self._order.rate else 0.1):
                connection = self._by_fd[fd]
                if events & select.EPOLLOUT:
                    self._send(connection)
                if events & ~select.EPOLLOUT:
                    self._read(connection)
        self.measured.seconds = time.perf_counter() - began
        for connection in self._by_fd.values():
            connection.socket.close()
        return self.measured

    def _send_what_is_due(self, began: float, now: float) -> None:
        rate = self._order.rate
        while self._idle:
            due = now if rate is None else began + self._num_sent / rate
            if due > now:
                return
            request = self._requests[self._num_sent % len(self._requests)]
            if b"{n}" in request:
                request = request.replace(b"{n}", b"%016d" % self._num_sent)
            self._num_sent += 1
            connection = self._idle.popleft()
            connection.begin(request, due)
            self._send(connection)

    def _send(self, connection: _Connection) -> None:
        connection.send()
        waits_for = select.EPOLLIN | (select.EPOLLOUT if connection.unsent else 0)
        self._polling.modify(connection.socket.fileno(), waits_for)

    def _read(self, connection: _Connection) -> None:
        try:
            data = connection.socket.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.measured.num_broken += 1
            self._renew(connection)
            return
        connection.received += data
        status = connection.status()
        if status is not None:
            self.measured.latencies_s.append(time.perf_counter() - connection.due_s)
            seen = self.measured.statuses
            seen[str(status)] = seen.get(str(status), 0) + 1
            if connection.unsent:  # answered before it was all sent: what is left is not asked for
                self._renew(connection)
            else:
                self._idle.append(connection)

    def _renew(self, connection: _Connection) -> None:
        del self._by_fd[connection.socket.fileno()]
        connection.again()
        self._admit(connection)


def request_text(method: str, path: str, headers: dict[str, str], body: str = "") -> str:
    """One HTTP/1.1 request; `{n}` in the body must not change its length: the counter has 16 digits."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body:
        lines.append(f"Content-Length: {len(body.replace('{n}', '0' * 16).encode())}")
    return "\r\n".join(lines) + "\r\n\r\n" + body


def load(order: Order) -> Measured:
    """Run the order in a process of its own. Raises subprocess.CalledProcessError."""
    done = subprocess.run(
        [sys.executable, "-m", "lab.drills.load_client"],
        input=json.dumps(asdict(order)).encode(),
        stdout=subprocess.PIPE,
        cwd=ROOT,
        timeout=order.seconds + 60,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return Measured(**found)


if __name__ == "__main__":
    json.dump(asdict(_Load(Order(**json.load(sys.stdin))).run()), sys.stdout)
