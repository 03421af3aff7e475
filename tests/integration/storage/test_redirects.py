"""An object store that says "look elsewhere" is not followed anywhere: elsewhere could be inside."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from app.settings import StorageSettings
from app.storage.errors import StorageError
from app.storage.s3 import S3Store

Answer = tuple[int, dict[str, str], bytes]
_MOVED = "<Error><Code>{code}</Code><Endpoint>{host}</Endpoint><Region>elsewhere</Region></Error>"


@contextmanager
def answering(answer: Answer) -> Iterator[tuple[str, list[str]]]:
    """A server that gives every request this answer; its address, and what it was asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def _give(self) -> None:
            asked.append(f"{self.command} {self.path}")
            status, headers, body = answer
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _give

        def log_message(self, *_: object) -> None:
            """Not to the terminal."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 400])
@pytest.mark.parametrize(
    "code", ["PermanentRedirect", "TemporaryRedirect", "IllegalLocationConstraintException"]
)
def test_a_redirect_of_the_store_is_an_error_and_not_followed(status: int, code: str, tmp_path: Path) -> None:
    with answering((200, {}, b"the metadata service")) as (inside, asked_inside):
        headers = {
            "Location": f"http://{inside}/latest/meta-data/",
            "x-amz-bucket-region": f"elsewhere.{inside}/",
            "Content-Type": "application/xml",
        }
        body = _MOVED.format(code=code, host=inside).encode()
        with answering((status, headers, body)) as (outside, asked):
            store = S3Store(StorageSettings(endpoint_url=f"http://{outside}", max_attempts=1))
            with pytest.raises(StorageError):
                store.head("a")
            with pytest.raises(StorageError):
                store.read_bytes("a", max_bytes=100)
            with pytest.raises(StorageError):
                store.download_to("a", tmp_path / "a")
            with pytest.raises(StorageError):
                list(store.list_prefix("a/"))
            assert asked
        assert asked_inside == []
