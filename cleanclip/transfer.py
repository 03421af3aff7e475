"""How far a transfer is: bytes, rate, time left; what an upload ended with."""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from cleanclip.models import Upload
from cleanclip.retries import AsyncClock, Clock

REPORT_EVERY_S = 0.1
RATE_OVER_S = 15.0


@dataclass(frozen=True, kw_only=True)
class TransferProgress:
    """`done_bytes` counts what an earlier, interrupted transfer left; the rate does not."""

    done_bytes: int
    total_bytes: int
    rate_bytes_per_s: float | None
    eta_s: float | None

    @property
    def fraction(self) -> float:
        return self.done_bytes / self.total_bytes if self.total_bytes else 1.0


@dataclass(frozen=True, kw_only=True)
class SentFile:
    """A file that is there. `sha256` was computed here, over the bytes that were read from disk."""

    upload: Upload
    sha256: str
    num_parts_resumed: int
    """Parts that an earlier, interrupted run had sent."""
    is_streamed: bool
    """Whether it went through the service, because the object store could not be reached."""

    @property
    def id(self) -> str:
        return self.upload.id

    @property
    def checkpoint_id(self) -> str | None:
        return self.upload.checkpoint_id


OnTransfer = Callable[[TransferProgress], None]


class Meter:
    """Counts from several threads and reports at most ten times a second, and once at the end."""

    def __init__(self, total_bytes: int, report: OnTransfer | None, clock: Clock | AsyncClock) -> None:
        self._total_bytes = total_bytes
        self._report = report
        self._clock = clock
        self._lock = threading.Lock()
        self._done_bytes = 0
        self._recent: deque[tuple[float, int]] = deque([(clock.now(), 0)])
        self._moved_bytes = 0
        self._reported_at = float("-inf")

    def add_existing(self, num_bytes: int) -> None:
        """Bytes that were there already."""
        with self._lock:
            self._done_bytes += num_bytes
            self._tell(force=False)

    def moved(self, num_bytes: int) -> None:
        """Bytes that went through now; negative when a try was cut."""
        with self._lock:
            self._done_bytes += num_bytes
            self._moved_bytes += num_bytes
            self._tell(force=False)

    def reset(self) -> None:
        """Begin again from the first byte."""
        with self._lock:
            self._done_bytes = self._moved_bytes = 0
            self._recent = deque([(self._clock.now(), 0)])

    def finish(self) -> None:
        """Report the end, whatever was reported just before."""
        with self._lock:
            self._tell(force=True)

    def _tell(self, *, force: bool) -> None:
        now = self._clock.now()
        if self._report is None or (not force and now - self._reported_at < REPORT_EVERY_S):
            return
        self._reported_at = now
        self._recent.append((now, self._moved_bytes))
        while len(self._recent) > 2 and now - self._recent[0][0] > RATE_OVER_S:
            self._recent.popleft()
        since, moved_then = self._recent[0]
        elapsed_s = now - since
        rate = max(0.0, (self._moved_bytes - moved_then) / elapsed_s) if elapsed_s > 0 else None
        left_bytes = self._total_bytes - self._done_bytes
        self._report(
            TransferProgress(
                done_bytes=self._done_bytes,
                total_bytes=self._total_bytes,
                rate_bytes_per_s=rate,
                eta_s=left_bytes / rate if rate else None,
            )
        )
