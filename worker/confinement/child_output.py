"""Reading what a child says without being harmed by it: events from stdout, a capped log from stderr.

stdout is JSON lines (`vocabulary.progress`), each a bounded, typed event. How many of each kind, how much
nonsense, and how many bytes a stream may bring is limited; what is over is an `Excess`, and ends the job.
"""

import re
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated, Protocol

from pydantic import Field, TypeAdapter, ValidationError

from cleanclip.vocabulary.progress import ProgressEvent, SentEvent

MAX_LINE_BYTES = 64 * 1024
MAX_BAD_LINES = 20
"""Whatever else a child prints goes to stderr (`sanitizer.work.running`): none of its lines should be bad."""
MAX_LOG_BYTES = 4 * 1024 * 1024
TAIL_BYTES = 16 * 1024
READ_EVERY_S = 0.005
"""A stream is read so often and no more: bytes that come one by one would cost a wake-up each."""
_CHUNK_BYTES = 64 * 1024

_EVENT: TypeAdapter[SentEvent] = TypeAdapter(Annotated[SentEvent, Field(discriminator="type")])
_UNPRINTABLE = re.compile(r"[^\t\n\x20-\x7e\xa0-\ud7ff\ue000-\U0010ffff]")


@dataclass(frozen=True, kw_only=True)
class Excess:
    """Why a child is no longer worth listening to: the code and the sentence of the job's failure."""

    code: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """What may come at once, and how much more with every second: a whole life's sum would end long jobs."""

    burst: float
    per_s: float


STDOUT_BYTES = Allowance(burst=4 * 2**20, per_s=64 * 1024)
STDERR_BYTES = Allowance(burst=64 * 2**20, per_s=64 * 1024)
EVENTS: Mapping[str, Allowance] = {
    "advanced": Allowance(burst=600, per_s=20),
    "phase_started": Allowance(burst=50, per_s=0),
    "phase_finished": Allowance(burst=50, per_s=0),
    "noted": Allowance(burst=200, per_s=0),
}
"""The library says `advanced` five times a second at most, and each of the others a few dozen times a job."""
BURST_OF_STATES = 10
"""Beyond one for every half of the interval at which a job saves: the first, the last, that of a stop."""


class Meter:
    """Counts what comes and holds it against an allowance."""

    def __init__(self, allowance: Allowance, now: Callable[[], float] = time.monotonic) -> None:
        self._allowance = allowance
        self._now = now
        self._began = now()
        self._count = 0

    def is_over(self, more: int = 0) -> bool:
        """Count `more`; whether it is more than may have come by now."""
        self._count += more
        return self._count > self._allowance.burst + self._allowance.per_s * (self._now() - self._began)


class EventReader:
    """Turns bytes into events; `excess` says why the child is no longer listened to."""

    def __init__(
        self,
        on_event: Callable[[ProgressEvent], None],
        now: Callable[[], float] = time.monotonic,
        *,
        save_every_s: float = 60.0,
    ) -> None:
        """`save_every_s`: how often the job was told to save a state; 0: after every step."""
        self._on_event = on_event
        self._bytes = Meter(STDOUT_BYTES, now)
        self._meters = {kind: Meter(allowance, now) for kind, allowance in EVENTS.items()}
        states_per_s = 2 / save_every_s if save_every_s else float(EVENTS["advanced"].per_s)
        self._meters["state_saved"] = Meter(Allowance(burst=BURST_OF_STATES, per_s=states_per_s), now)
        self._rest = b""
        self._is_skipping = False
        self._num_bad_lines = 0
        self.excess: Excess | None = None

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes. Never raises for what they hold; keeps at most one line in memory."""
        if self._bytes.is_over(len(chunk)):
            self._end(Excess(code="child_flood", message="The job's process wrote more output than it may."))
        *lines, rest = chunk.split(b"\n")
        for line in lines:
            whole = self._rest + line
            self._rest = b""
            if self.excess is not None:
                return
            if self._is_skipping or len(whole) > MAX_LINE_BYTES:
                self._is_skipping = False
                self._reject()
            else:
                self._take(whole)
        if len(self._rest) + len(rest) > MAX_LINE_BYTES:
            self._is_skipping = True
            self._rest = b""
        elif not self._is_skipping:
            self._rest += rest

    def _take(self, line: bytes) -> None:
        try:
            event = _EVENT.validate_json(line)
        except ValidationError:
            self._reject()
            return
        if self._meters[event.type].is_over(1):
            message = f"The job's process sent '{event.type}' more often than it may."
            self._end(Excess(code="child_flood", message=message))
        else:
            self._on_event(event)

    def _reject(self) -> None:
        self._num_bad_lines += 1
        if self._num_bad_lines > MAX_BAD_LINES:
            message = "The job's process sent messages outside its protocol."
            self._end(Excess(code="child_nonsense", message=message))

    def _end(self, excess: Excess) -> None:
        self.excess = self.excess or excess


class CappedLog:
    """The first MAX_LOG_BYTES go to a file, the last TAIL_BYTES stay in memory, the rest is dropped.

    `excess`: more was written than any log has.
    """

    def __init__(self, path: Path, now: Callable[[], float] = time.monotonic) -> None:
        self._bytes = Meter(STDERR_BYTES, now)
        self.excess: Excess | None = None
        self._file = path.open("wb")
        self._left_bytes = MAX_LOG_BYTES
        self._tail: deque[bytes] = deque()
        self._tail_bytes = 0
        self._lock = threading.Lock()

    def feed(self, chunk: bytes) -> None:
        if self._bytes.is_over(len(chunk)):
            self.excess = Excess(
                code="child_flood", message="The job's process wrote more output than it may."
            )
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


class _Fed(Protocol):
    excess: Excess | None

    def feed(self, chunk: bytes, /) -> None: ...


def pump(stream: IO[bytes], fed: _Fed) -> threading.Thread:
    """Move everything from `stream` to `fed` in a thread of its own, until the stream ends or is closed, or
    `fed` has had too much: whoever writes on waits then, and costs nothing."""

    def run() -> None:
        try:
            while fed.excess is None and (chunk := stream.read1(_CHUNK_BYTES)):  # type: ignore[attr-defined]
                fed.feed(chunk)
                time.sleep(READ_EVERY_S)
        except (OSError, ValueError):
            return  # closed under our hands: the child is gone, and so is our interest

    thread = threading.Thread(target=run, name="pump", daemon=True)
    thread.start()
    return thread
