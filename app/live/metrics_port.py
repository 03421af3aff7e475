"""`/metrics` on a port of its own, for a network that no customer reaches.

prometheus_client's `start_http_server` cannot share its port (SO_REUSEPORT), which processes do here.
"""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from app.live.metrics import CONTENT_TYPE

_TIMEOUT_S = 10.0


@contextmanager
def serving(render: Callable[[], bytes], host: str, port: int) -> Iterator[int]:
    """Answer `GET /metrics` within the block; yields the port (0 asks for any free one).

    Processes that serve requests on one port share this one too: whichever answers speaks for all.
    """

    class Handler(BaseHTTPRequestHandler):
        timeout = _TIMEOUT_S

        def do_GET(self) -> None:
            if self.path.partition("?")[0] != "/metrics":
                self.send_error(HTTPStatus.NOT_FOUND)
                return
            body = render()
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Scrapes are no news."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        allow_reuse_port = True
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

    with Server((host, port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
