"""Reading what a child says without being harmed by it: events from stdout, a capped log from stderr.

stdout is JSON lines (`sanitizer.progress`). Lines that are too long or make no sense are dropped; too many
of them, or too much of anything, and the child is called a flood. Knows no process.
"""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import IO, Annotated

from pydantic import Field, TypeAdapter, ValidationError

from sanitizer.progress import Advanced, PhaseStarted, ProgressEvent

MAX_LINE_BYTES = 64 * 1024
MAX_STDOUT_BURST_BYTES = 16 * 1024 * 1024
MAX_STDOUT_RATE_BYTES_S = 64 * 1024
"""What may be said at once, and for how long on end: a whole life's sum would end jobs of many days."""
MAX_BAD_LINES = 1000
MAX_LOG_BYTES = 4 * 1024 * 1024
TAIL_BYTES = 16 * 1024
_CHUNK_BYTES = 64 * 1024
_MAX_COUNT = 2**53
"""The largest whole number that every reader of JSON understands."""
_MAX_UNIT_CHARACTERS = 40

_EVENT: TypeAdapter[ProgressEvent] = TypeAdapter(Annotated[ProgressEvent, Field(discriminator="type")])
_UNPRINTABLE = re.compile(r"[^\t\n\x20-\x7e\xa0-\ud7ff\ue000-\U0010ffff]")


class EventReader:
    """Turns bytes into events; `is_flood` says that the child is no longer worth listening to."""

    def __init__(
        self, on_event: Callable[[ProgressEvent], None], now: Callable[[], float] = time.monotonic
    ) -> None:
        self._on_event = on_event
        self._now = now
        self._began = now()
        self._rest = b""
        self._is_skipping = False
        self._num_bytes = 0
        self._num_bad_lines = 0

    @property
    def is_flood(self) -> bool:
        return self._num_bytes > self._allowed_bytes() or self._num_bad_lines > MAX_BAD_LINES

    def _allowed_bytes(self) -> float:
        return MAX_STDOUT_BURST_BYTES + MAX_STDOUT_RATE_BYTES_S * (self._now() - self._began)

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes. Never raises for what they hold; keeps at most one line in memory."""
        self._num_bytes += len(chunk)
        *lines, rest = chunk.split(b"\n")
        for line in lines:
            whole = self._rest + line
            self._rest = b""
            if self._is_skipping or len(whole) > MAX_LINE_BYTES:
                self._is_skipping = False
                self._num_bad_lines += 1
            elif not self.is_flood:
                self._take(whole)
        if len(self._rest) + len(rest) > MAX_LINE_BYTES:
            self._is_skipping = True
            self._rest = b""
        elif not self._is_skipping:
            self._rest += rest

    def _take(self, line: bytes) -> None:
        if not line.strip():
            return
        try:
            event = _EVENT.validate_json(line)
        except ValidationError:
            self._num_bad_lines += 1
            return
        if not _is_sensible(event):
            self._num_bad_lines += 1
            return
        self._on_event(event)


def _is_sensible(event: ProgressEvent) -> bool:
    """Whether its numbers are counts that a row can hold and its units words. Sentences are cut later."""
    if isinstance(event, Advanced):
        unit, counts = event.rate_unit, [event.done, event.total]
    elif isinstance(event, PhaseStarted):
        unit, counts = event.unit, [event.total]
    else:
        return True
    are_counts = all(0 <= count <= _MAX_COUNT for count in counts if count is not None)
    return are_counts and len(unit or "") <= _MAX_UNIT_CHARACTERS


class CappedLog:
    """The first MAX_LOG_BYTES go to a file, the last TAIL_BYTES stay in memory, the rest is dropped."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._left_bytes = MAX_LOG_BYTES
        self._tail: deque[bytes] = deque()
        self._tail_bytes = 0
        self._lock = threading.Lock()

    def feed(self, chunk: bytes) -> None:
        self._file.write(chunk[: self._left_bytes])
        self._left_bytes = max(0, self._left_bytes - len(chunk))
        with self._lock:
            self._tail.append(chunk)
            self._tail_bytes += len(chunk)
            while self._tail_bytes - len(self._tail[0]) >= TAIL_BYTES:
                self._tail_bytes -= len(self._tail.popleft())

    def tail(self) -> str:
        """The end of the log as printable text."""
        with self._lock:
            data = b"".join(self._tail)[-TAIL_BYTES:]
        return _UNPRINTABLE.sub("\ufffd", data.decode("utf-8", errors="replace"))

    def close(self) -> None:
        self._file.close()


def pump(stream: IO[bytes], feed: Callable[[bytes], None]) -> threading.Thread:
    """Move everything from `stream` to `feed` in a thread of its own, until the stream ends or is closed."""

    def run() -> None:
        try:
            while chunk := stream.read1(_CHUNK_BYTES):  # type: ignore[attr-defined]
                feed(chunk)
        except (OSError, ValueError):
            return  # closed under our hands: the child is gone, and so is our interest

    thread = threading.Thread(target=run, name="pump", daemon=True)
    thread.start()
    return thread
