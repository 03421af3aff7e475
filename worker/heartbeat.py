"""The supervisor's pulse: a thread that keeps the lease, carries progress out and requests in.

Independent of the child, so that a hung model neither loses the lease nor keeps a cancel waiting. Every
`poll_s` it looks; it writes when there is something to say or `heartbeat_s` have passed. A database that
does not answer is tried again until the lease has run out; then the job is given up (fenced).
"""

import threading
import time
from types import TracebackType
from typing import Self

from app.db.repositories.attempt_values import Heartbeat
from app.domain.errors import Unavailable
from app.logs import get_logger
from worker.control import Control, Stopped
from worker.ledger import Ledger
from worker.tracker import Tracker

_LOG = get_logger(__name__)


class Pulse:
    """`with Pulse(…):` — beats until the block ends."""

    def __init__(
        self, ledger: Ledger, control: Control, tracker: Tracker, *, heartbeat_s: float, poll_s: float
    ) -> None:
        self._ledger = ledger
        self._control = control
        self._tracker = tracker
        self._heartbeat_s = heartbeat_s
        self._poll_s = min(poll_s, heartbeat_s)
        self._ended = threading.Event()
        self._beating = threading.Lock()
        self._last_beat = time.monotonic()
        self._said: object = None
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def flush(self) -> None:
        """Say now what there is to say; the database being away is no matter."""
        try:
            self._beat()
        except (Unavailable, Stopped):
            _LOG.info("flush_skipped")

    def _run(self) -> None:
        while not self._ended.wait(self._poll_s):
            try:
                self._beat()
            except Unavailable:
                _LOG.warning("heartbeat_missed")
                if not self._ledger.is_held:
                    self._control.fence()
            except Stopped:
                return
            except Exception:  # noqa: BLE001 - a defect here must not end the pulse while the lease runs
                _LOG.exception("heartbeat_broken")
                if not self._ledger.is_held:
                    self._control.fence()

    def _beat(self) -> None:
        with self._beating:
            self._beat_once()

    def _beat_once(self) -> None:
        snapshot = self._tracker.snapshot()
        if snapshot != self._said or time.monotonic() - self._last_beat >= self._heartbeat_s:
            phases, progress = snapshot
            answer = self._ledger.beat(progress, phases)
            self._said = snapshot
            self._last_beat = time.monotonic()
        else:
            answer = self._ledger.peek()
        self._obey(answer)
        for note in self._tracker.take_notes():
            self._ledger.record_event("noted", dict(note))

    def _obey(self, answer: Heartbeat | None) -> None:
        if answer is None:
            self._control.fence()
            self._ended.set()
            return
        if answer.cancel_requested:
            self._control.cancel()
        self._control.pause(wanted=answer.pause_requested)
