"""A real HTTP proxy before the object store that misbehaves on order: 500, 503, slow, cut short, wrong bytes.

Requests go through unchanged, their Host header included, so that signatures stay right. Everything
lies in memory for a moment: for drills with small files.
"""

from __future__ import annotations

import http.client
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import urlsplit

Kind = Literal["500", "503", "slow", "cut", "wrong", "drop"]
_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length"})


@dataclass
class Trouble:
    """What goes wrong with the next `times` requests of `method` (any: "") whose path holds `part`."""

    kind: Kind
    times: int
    method: str = ""
    part: str = ""
    delay_s: float = 0.0
    ends_at: float = float("inf")
    """On time.monotonic(): what did not go wrong by then goes well."""


class StoreProxy:
    """`url` is what goes through it. Troubles are counted as they happen."""

    def __init__(self, target_url: str) -> None:
        address = urlsplit(target_url)
        self._troubles: list[Trouble] = []
        self._lock = threading.Lock()
        self.num_troubles = 0
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except (OSError, http.client.HTTPException):
                    self.close_connection = True

            def log_message(self, *_: Any) -> None:
                """Nothing: a busy drill asks thousands of times."""

            def __getattr__(self, name: str) -> Any:
                if name.startswith("do_"):
                    return lambda: proxy.pass_on(self, address.hostname or "", address.port or 80)
                raise AttributeError(name)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, name="store proxy", daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def order(self, trouble: Trouble) -> None:
        with self._lock:
            self._troubles.append(trouble)

    def calm(self) -> None:
        """No more of what was ordered."""
        with self._lock:
            self._troubles.clear()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def pass_on(self, request: BaseHTTPRequestHandler, host: str, port: int) -> None:
        """One request; what is wrong with it is decided before it is sent on."""
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        trouble = self._take(request.command, request.path)
        if trouble is not None and trouble.kind in ("500", "503"):
            _refuse(request, int(trouble.kind))
            return
        if trouble is not None and trouble.kind == "drop":
            request.close_connection = True
            return
        if trouble is not None and trouble.kind == "slow":
            time.sleep(trouble.delay_s)
        connection = http.client.HTTPConnection(host, port, timeout=120)
        try:
            connection.putrequest(request.command, request.path, skip_host=True, skip_accept_encoding=True)
            for name, value in request.headers.items():
                if name.lower() not in _HOP_BY_HOP:
                    connection.putheader(name, value)
            connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            _answer(request, answer, answer.read(), trouble)
        finally:
            connection.close()

    def _take(self, method: str, path: str) -> Trouble | None:
        with self._lock:
            now = time.monotonic()
            self._troubles = [t for t in self._troubles if t.times > 0 and now < t.ends_at]
            for trouble in self._troubles:
                if trouble.method in ("", method) and trouble.part in path:
                    trouble.times -= 1
                    self.num_troubles += 1
                    return trouble
        return None


def _refuse(request: BaseHTTPRequestHandler, status: int) -> None:
    code = "InternalError" if status == 500 else "ServiceUnavailable"
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>a drill</Message></Error>".encode()
    request.send_response(status)
    request.send_header("Content-Type", "application/xml")
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(body)


def _answer(
    request: BaseHTTPRequestHandler, answer: http.client.HTTPResponse, body: bytes, trouble: Trouble | None
) -> None:
    request.send_response_only(answer.status, answer.reason)
    for name, value in answer.getheaders():
        if name.lower() not in _HOP_BY_HOP:
            request.send_header(name, value)
    length = answer.getheader("Content-Length") if request.command == "HEAD" else str(len(body))
    request.send_header("Content-Length", length or "0")
    request.end_headers()
    if trouble is not None and trouble.kind == "wrong" and body:
        middle = len(body) // 2
        body = body[:middle] + bytes([body[middle] ^ 0xFF]) + body[middle + 1 :]
    if trouble is not None and trouble.kind == "cut":
        body = body[: len(body) // 2]
        request.close_connection = True
    request.wfile.write(body)
