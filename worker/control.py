"""Why a running job should stop, and the one place where everybody asks.

Reasons, strongest first: fenced off (write nothing more), cancel, leave (the worker is told to go), pause.
"""

import threading
import time
from enum import StrEnum


class StopReason(StrEnum):
    FENCED = "fenced"
    CANCEL = "cancel"
    LEAVE = "leave"
    PAUSE = "pause"


class Stopped(Exception):
    """Raised where work is broken off because of `reason`."""

    def __init__(self, reason: StopReason) -> None:
        super().__init__(reason.value)
        self.reason = reason


class Control:
    """Requests come from the heartbeat's thread and a signal handler; the runner's thread reads them."""

    def __init__(self, leaving: threading.Event) -> None:
        """`leaving` is the whole worker's: set by SIGTERM, seen by the job that runs."""
        self._leaving = leaving
        self._fenced = threading.Event()
        self._cancel = threading.Event()
        self._pause = threading.Event()

    def fence(self) -> None:
        """The job belongs to somebody else, for good."""
        self._fenced.set()

    def cancel(self) -> None:
        """A cancel is never withdrawn."""
        self._cancel.set()

    def pause(self, *, wanted: bool) -> None:
        """A pause may be withdrawn until it is acted upon."""
        if wanted:
            self._pause.set()
        else:
            self._pause.clear()

    @property
    def reason(self) -> StopReason | None:
        """The strongest reason to stop, None to go on."""
        if self._fenced.is_set():
            return StopReason.FENCED
        if self._cancel.is_set():
            return StopReason.CANCEL
        if self._leaving.is_set():
            return StopReason.LEAVE
        return StopReason.PAUSE if self._pause.is_set() else None

    def check(self) -> None:
        """Raises Stopped where there is a reason to."""
        reason = self.reason
        if reason is not None:
            raise Stopped(reason)

    def wait(self, seconds: float) -> None:
        """Sleep, but no longer than until there is a reason to stop; then raises Stopped."""
        deadline = time.monotonic() + seconds
        while True:
            self.check()
            left = deadline - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, 0.1))
