"""What a peer without a key sends over bare connections: heads, chunks and trailers without end."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping

HEAD = b"GET /healthz HTTP/1.1\r\nHost: here\r\n"
CHUNKED = (
    b"POST /v1/jobs HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
_BLOCK = 65536
_LINES = b"".join(b"X-%06d: %s\r\n" % (number, b"v" * 50) for number in range(1000))

Endless = Callable[[int], Iterator[bytes]]
"""So many bytes at least, in pieces, of something that is never complete."""


def _endless(first: bytes, block: bytes) -> Endless:
    def pieces(num_bytes: int) -> Iterator[bytes]:
        return itertools.chain([first], itertools.repeat(block, -(-num_bytes // len(block))))

    return pieces


ENDLESS: Mapping[str, Endless] = {
    "lines of a head": _endless(HEAD, _LINES),
    "one header": _endless(HEAD + b"X: ", b"v" * _BLOCK),
    "a header's name": _endless(HEAD, b"v" * _BLOCK),
    "a path": _endless(b"GET /", b"v" * _BLOCK),
    "empty lines before a head": _endless(b"", b"\r\n" * (_BLOCK // 2)),
    "an extension of a chunk": _endless(CHUNKED + b"1;x=", b"v" * _BLOCK),
    "a trailer": _endless(CHUNKED + b"1\r\n{\r\n0\r\nX: ", b"v" * _BLOCK),
}
"""Where it stands in a request → its bytes."""


def send(connection: socket.socket, pieces: Iterable[bytes]) -> tuple[int, bytes]:
    """How many bytes went out before the server ended the connection, and its answer."""
    num_sent, answer = 0, b""
    try:
        for piece in pieces:
            connection.sendall(piece)
            num_sent += len(piece)
    except (BrokenPipeError, ConnectionResetError):
        pass
    try:
        while received := connection.recv(_BLOCK):
            answer += received
    except ConnectionResetError:
        pass
    return num_sent, answer
