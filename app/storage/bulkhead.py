"""`Bulkhead`: the one place from which an API process asks the object store; one that hangs costs no other.

A few threads of its own call; as many calls may wait for them; more are refused at once. A caller waits for a
bounded time, whatever the call does: the thread comes back when the client's own timeouts end the call.
"""

from __future__ import annotations

import contextvars
import math
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooSlow
from typing import Any, TypeVar

from app.storage.breaker import Breaker
from app.storage.errors import StoreRefused, StoreUnavailable

_RETRY_AFTER_S = 5.0
Answer = TypeVar("Answer")


class Bulkhead:
    """`num_calls` at once and as many waiting, each for at most `timeout_s`. `on_refused` is told why a call
    was not made or not waited for: `busy`, `open`, `late`."""

    def __init__(
        self,
        *,
        num_calls: int,
        timeout_s: float,
        breaker: Breaker | None = None,
        on_refused: Callable[[str], None] = lambda _reason: None,
    ) -> None:
        self.breaker = breaker or Breaker()
        self._timeout_s = timeout_s
        self._places = threading.BoundedSemaphore(2 * num_calls)
        self._threads = ThreadPoolExecutor(num_calls, thread_name_prefix="store")
        self._on_refused = on_refused

    def call(self, work: Callable[[], Answer], *, undo: Callable[[Answer], object] | None = None) -> Answer:
        """What `work` returns. `undo` gets an answer that came too late for anyone to use it.

        Raises StoreRefused, StoreUnavailable where it took too long, and whatever `work` raises.
        """
        try:
            with self.breaker.watching():
                return self._wait_for(self._started(work), undo)
        except StoreRefused as error:
            self._on_refused(error.reason)
            raise

    def stop(self) -> None:
        """No further calls; those under way end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _started(self, work: Callable[[], Answer]) -> Future[Answer]:
        if not self._places.acquire(blocking=False):
            raise StoreRefused(
                "all places for calls of the object store are taken",
                reason="busy",
                retry_after_s=_RETRY_AFTER_S,
            )
        future = self._threads.submit(contextvars.copy_context().run, work)
        future.add_done_callback(self._left)  # when the thread is free, not when the caller gave up
        return future

    def _left(self, _future: Future[Any]) -> None:
        self._places.release()

    def _wait_for(self, future: Future[Answer], undo: Callable[[Answer], object] | None) -> Answer:
        try:
            return future.result(self._timeout_s)
        except TooSlow as error:
            if future.done():
                raise  # the work's own
            self._on_refused("late")
            if not future.cancel() and undo is not None:
                future.add_done_callback(lambda late: None if late.exception() else undo(late.result()))
            raise StoreUnavailable(
                f"the object store did not answer within {math.ceil(self._timeout_s)} s"
            ) from error
