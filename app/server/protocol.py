"""HTTP/1.1 as uvicorn speaks it with httptools, with bounds on all that comes before the application.

The parser has no limit of its own: it keeps a header until it is complete, and copies it for each piece that
arrives. Here bytes go to it in pieces, and after each one the connection is ended if the head has grown too
large. What a connection holds is bounded by `max_head_bytes`, one read of the event loop, and the marks at
which reading and writing pause; what bodies hold is the application's business (app/api/middleware.py).

Why it is our own, and which servers were compared: docs/decisions/0073-the-server-limits-connections.md.
"""

import asyncio
import re
from typing import Any

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from app.server.connections import OpenConnections
from app.server.refusals import HEAD_TOO_LARGE, HEAD_TOO_SLOW, NO_ONE_HOST, SERVER_FULL, UNREADABLE, Refusal
from app.settings_groups import ConnectionSettings

_PIECE_BYTES = 16 * 1024
"""What the parser gets at once, and so by how much a limit on what is not complete can be passed."""
_MAX_PIPELINED = 8
"""Requests that wait for the answer to an earlier one, each with some KiB of memory."""
_LINGER_S = 2.0
_LINGER_BYTES = 1024 * 1024
"""After a refusal, what a peer still sends is thrown away for so long: a connection that is closed on unread
bytes takes the refusal with it."""
_MOST_UNREAD_BODY = 16 * 1024 * 1024
"""What a peer may go on sending of a body after its answer."""
_LEAST_TAKEN_PER_S = 16 * 1024
_AUTHORITY = rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(?::[0-9]*)?"
_HOST = re.compile(_AUTHORITY)
_ABSOLUTE = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#@]*@)?(" + _AUTHORITY + rb")(?=[/?#]|$)")


class _Refused(Exception):
    """Out of a callback of the parser, which ends with it."""


class LimitedProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(
        self,
        connections: OpenConnections,
        limits: ConnectionSettings,
        send_timeout_s: float,
        *,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._connections = connections
        self._limits = limits
        self._send_timeout_s = send_timeout_s
        self._is_in_body = False
        self._head_since_s: float | None = None
        """While a head is awaited or arrives; not between requests until the first byte."""
        self._head_bytes = 0
        """Of the head that is not complete, as they came."""
        self._headers_bytes = 0
        """Of the same message, as they were parsed; trailers too."""
        self._num_headers = 0
        self._body_bytes = 0
        self._between_bytes = 0
        """Since the last byte of a body that is not complete: sizes of chunks, extensions, trailers."""
        self._unread_bytes = 0
        self._num_complete = 0
        self._refusal: Refusal | None = None
        self._is_deaf = False
        """Nothing more that comes is read."""
        self._ends_s: float | None = None
        self._unsent: tuple[int, float] | None = None
        """Bytes of answers that lay here, and until when enough of them must be taken."""

    # -- the connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head_since_s = self.loop.time()
        refusal = self._connections.enter(self, None if self.client is None else self.client[0])
        if refusal is not None:
            self._connections.note(refusal.code)
            self._is_deaf = True
            transport.write(refusal.rendered())
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.leave(self)
        super().connection_lost(exc)

    def give_way(self) -> None:
        """End for another that needs the place; whoever has begun a request is told why."""
        if self._head_bytes and not self._is_deaf:
            self.transport.write(SERVER_FULL.rendered())
        if self.transport.is_closing() or self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.close()

    def look(self, now_s: float) -> None:
        """End what takes too long: a head, the rest of a body, the taking of an answer."""
        if self._is_unsent_too_long(now_s) or (self._ends_s is not None and now_s > self._ends_s):
            self._connections.note("too_slow")
            self.transport.abort()
        elif self.transport.is_closing() or self._is_deaf or self._head_since_s is None:
            return
        elif now_s - self._head_since_s > self._limits.head_timeout_s and not self._is_answering():
            if self._head_bytes:
                self._refuse(HEAD_TOO_SLOW)
            else:  # never said a word: browsers connect ahead of need
                self._connections.note("idle")
                self.transport.close()

    def _is_unsent_too_long(self, now_s: float) -> bool:
        """Less than _LEAST_TAKEN_PER_S of an answer was taken, over `send_timeout_s`."""
        unsent = self.transport.get_write_buffer_size()
        before, self._unsent = self._unsent, None
        if not unsent:
            return False
        if before is not None and now_s <= before[1]:
            self._unsent = before
            return False
        self._unsent = (unsent, now_s + self._send_timeout_s)
        return before is not None and unsent > before[0] - self._send_timeout_s * _LEAST_TAKEN_PER_S

    def resume_writing(self) -> None:
        super().resume_writing()
        self._unsent = None  # most was taken

    # -- what comes

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        view = memoryview(data)
        for start in range(0, len(data), _PIECE_BYTES):
            piece = view[start : start + _PIECE_BYTES]
            if self._is_deaf:
                self._throw_away(len(piece))
            elif not self.transport.is_closing():
                self._parse(piece)

    def _throw_away(self, num_bytes: int) -> None:
        self._unread_bytes += num_bytes
        if self._unread_bytes > _LINGER_BYTES and not self.transport.is_closing():
            self.transport.abort()

    def _parse(self, piece: memoryview) -> None:
        if not self._is_in_body and self._head_since_s is None:
            self._head_since_s = self.loop.time()
        num_complete, body_bytes = self._num_complete, self._body_bytes
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade:  # we speak nothing else: answered as if it had not been asked
            self._end_after_answer()
        except httptools.HttpParserError:
            self._refuse(self._refusal or UNREADABLE)
        else:
            self._count(len(piece), self._num_complete > num_complete, self._body_bytes > body_bytes)

    def _count(self, num_bytes: int, has_completed: bool, has_body: bool) -> None:
        """What the parser holds of something that is not complete."""
        if not self._is_in_body:
            self._head_bytes += 0 if has_completed else num_bytes
            if self._head_bytes > self._limits.max_head_bytes:
                self._refuse(HEAD_TOO_LARGE)
            return
        self._between_bytes = 0 if has_body else self._between_bytes + num_bytes
        if self._between_bytes > self._limits.max_head_bytes:
            self._refuse(HEAD_TOO_LARGE)
        elif self.cycle.response_complete:
            self._unread_bytes += num_bytes
            if self._unread_bytes > _MOST_UNREAD_BODY:
                self._connections.note("body_unread")
                self.transport.abort()

    # -- what the parser says

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_since_s = self.loop.time() if self._head_since_s is None else self._head_since_s
        self._headers_bytes = self._num_headers = 0

    def on_url(self, url: bytes) -> None:
        self._grow(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._num_headers += 1
        self._grow(len(name) + len(value) + len(": \r\n"))
        if not self._is_in_body:  # nobody reads trailers
            super().on_header(name, value)

    def _grow(self, num_bytes: int) -> None:
        self._headers_bytes += num_bytes
        if (
            self._headers_bytes > self._limits.max_head_bytes
            or self._num_headers > self._limits.max_header_lines
        ):
            self._refusal = HEAD_TOO_LARGE
            raise _Refused

    def on_headers_complete(self) -> None:
        if len(self.pipeline) >= _MAX_PIPELINED:
            raise _Refused
        self._settle_host()
        super().on_headers_complete()
        self._is_in_body = True
        self._head_since_s, self._head_bytes, self._between_bytes, self._unread_bytes = None, 0, 0, 0
        self._connections.serves(self)

    def _settle_host(self) -> None:
        """One valid Host, or none in HTTP/1.0; that of an absolute target overrides it (RFC 9112, 3.2)."""
        places = [place for place, (name, _) in enumerate(self.headers) if name == b"host"]
        is_needed = self.parser.get_http_version() != "1.0"
        if not is_needed <= len(places) <= 1 or not all(
            _HOST.fullmatch(self.headers[at][1]) for at in places
        ):
            self._refusal = NO_ONE_HOST
            raise _Refused
        target = _ABSOLUTE.match(self.url)
        if target is not None:
            self.headers[:] = [one for one in self.headers if one[0] != b"host"] + [(b"host", target[1])]

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._is_in_body = False
        self._num_complete += 1
        if self.cycle.response_complete:
            self._ends_s = None
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._is_in_body and not self._is_deaf:
            self._ends_s = self.loop.time() + self._limits.keep_alive_s
        if not self.pipeline:
            self._connections.waits(self)

    # -- ends

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _refuse(self, refusal: Refusal) -> None:
        """Say why, once, and read no more. Answers to earlier requests go out whole."""
        self._connections.note(refusal.code)
        if self._is_answering() and not self._is_in_body:
            self._end_after_answer()
            return
        self._is_deaf = True
        if self._is_in_body:
            has_begun = self.cycle.response_started or bool(self.pipeline)
            self.cycle.disconnected = True  # it may be waiting for a body that will not come
            self.cycle.message_event.set()
            if has_begun:  # no place for another answer
                self.transport.abort()
                return
        self._connections.waits(self)
        self._unread_bytes, self._ends_s = 0, self.loop.time() + _LINGER_S
        self.transport.write(refusal.rendered())
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()

    def _end_after_answer(self) -> None:
        self._is_deaf, self._unread_bytes = True, 0
        self.cycle.keep_alive = False  # of the last one: those before it are answered
