"""A customer's server: takes messages over HTTP, keeps them, and answers as it is told to, well or badly."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError


@dataclass(frozen=True, kw_only=True)
class Message:
    """One request. Header names in small letters."""

    path: str
    headers: dict[str, str]
    body: bytes
    came_at_s: float = field(default_factory=time.monotonic)

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    def verified(self, secret: str) -> Any:
        """What it says, by the standard's own library. Raises WebhookVerificationError."""
        return Webhook(secret).verify(self.body, self.headers)

    def is_signed_with(self, secret: str) -> bool:
        """Whether one of its signatures is of that secret."""
        try:
            self.verified(secret)
        except WebhookVerificationError:
            return False
        return True


Behave = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        length = int(self.headers.get("content-length", 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.messages.append(Message(path=self.path, headers=headers, body=self.rfile.read(length)))
        self._ended = self.server.begun()
        try:
            self.server.behave(self)
        finally:
            self._ended()

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self._ended()  # before the sender can know: its next one may be here at once
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Silent."""


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.messages: list[Message] = []
        self.behave: Behave = answering(204)
        self.num_at_once = self.most_at_once = 0
        self._lock = threading.Lock()

    def begun(self) -> Callable[[], None]:
        """Count a request; what is returned counts it off, once."""
        once = iter([1])
        with self._lock:
            self.num_at_once += 1
            self.most_at_once = max(self.most_at_once, self.num_at_once)

        def ended() -> None:
            with self._lock:
                self.num_at_once -= next(once, 0)

        return ended

    def handle_error(self, request: object, client_address: object) -> None:
        """A sender that hangs up is what the tests are about."""


class Receiver:
    """With `tls` it speaks HTTPS. Use it with `with`."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._server = Server()
        self._scheme = "http" if tls is None else "https"
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)

    @property
    def port(self) -> int:
        return self._server.server_port

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.port}/hook"

    @property
    def messages(self) -> list[Message]:
        return self._server.messages

    @property
    def most_at_once(self) -> int:
        """How many requests it had at the same time."""
        return self._server.most_at_once

    def behaves(self, behave: Behave) -> None:
        """From now on. Unless told: 204."""
        self._server.behave = behave

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def answering(status: int, body: bytes = b"", **headers: str) -> Behave:
    return lambda handler: handler.answer(status, body, **headers)


def sleeping(seconds: float) -> Behave:
    """Nothing for so long, then 204."""

    def behave(handler: Handler) -> None:
        time.sleep(seconds)
        handler.answer(204)

    return behave


def dripping(head: bytes, *, every_s: float = 0.1, for_s: float = 30.0) -> Behave:
    """`head`, then a byte now and then."""

    def behave(handler: Handler) -> None:
        handler.wfile.write(head)
        until_s = time.monotonic() + for_s
        while time.monotonic() < until_s:
            handler.wfile.write(b"x")
            time.sleep(every_s)

    return behave
