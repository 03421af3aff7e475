"""`Bulkhead`: the one place from which an API process asks the object store; one that hangs costs no other.

A few threads of its own call; as many calls may wait for them; more are refused at once. A caller waits for a
bounded time, whatever the call does: the thread comes back when the client's own timeouts end the call.

`Breaker`: after some failures in a row nobody is asked for a while; then one call tries, for all.

Why both are our own (pybreaker lets one call run at a time): docs/decisions/0074-the-store-has-a-bulkhead.md.
"""

import contextvars
import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooSlow
from contextlib import contextmanager
from typing import TypeVar

from app.storage.errors import StoreRefused, StoreUnavailable


class Breaker:
    """Counts StoreUnavailable alone: any other error is an answer. Safe to share between threads."""

    def __init__(
        self, *, max_failures: int = 5, open_s: float = 5.0, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._max_failures = max_failures
        self._open_s = open_s
        self._now_s = now_s
        self._lock = threading.Lock()
        self._failures = 0
        self._closed_again_at_s = 0.0

    @property
    def is_open(self) -> bool:
        """Whether the store failed often enough that calls are refused, but for one that tries."""
        return self._failures >= self._max_failures

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Around one call. Raises StoreRefused instead of letting it through while open."""
        self._admit()
        try:
            yield
        except StoreRefused:
            raise  # by the caller's own bounds: says nothing of the store
        except StoreUnavailable:
            with self._lock:
                self._failures += 1
                self._closed_again_at_s = self._now_s() + self._open_s
            raise
        except BaseException:
            self._answered()
            raise
        self._answered()

    def _admit(self) -> None:
        with self._lock:
            if not self.is_open:
                return
            left_s = self._closed_again_at_s - self._now_s()
            if left_s > 0:
                raise StoreRefused(
                    "the object store failed several times in a row", reason="open", retry_after_s=left_s
                )
            self._closed_again_at_s = self._now_s() + self._open_s  # this call tries; the others wait for it

    def _answered(self) -> None:
        with self._lock:
            self._failures = 0


_RETRY_AFTER_S = 5.0
Answer = TypeVar("Answer")


class Bulkhead:
    """`num_calls` at once and as many waiting, each for at most `timeout_s`. `on_refused` is given the reason
    why a call was not made or not waited for: `busy`, `open`, `late`."""

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
        self._running = threading.BoundedSemaphore(num_calls)
        self._on_refused = on_refused

    def call(self, work: Callable[[], Answer], *, undo: Callable[[Answer], object] | None = None) -> Answer:
        """What `work` returns. `undo` gets an answer that came too late for anyone to use it.

        Raises StoreRefused, StoreUnavailable where it took too long, and whatever `work` raises.
        """
        try:
            with self.breaker.watching():
                deadline_s = time.monotonic() + self._timeout_s
                return self._wait_for(self._started(work), deadline_s, undo)
        except StoreRefused as error:
            self._on_refused(error.reason)
            raise

    def _started(self, work: Callable[[], Answer]) -> Future[Answer]:
        if not self._places.acquire(blocking=False):
            raise StoreRefused(
                "all places for calls of the object store are taken",
                reason="busy",
                retry_after_s=_RETRY_AFTER_S,
            )
        if not self._running.acquire(timeout=self._timeout_s):
            self._places.release()
            raise self._late()
        future: Future[Answer] = Future()
        # A daemon: a store that hangs does not keep the process from ending. Places are free when it ends.
        thread = threading.Thread(
            target=contextvars.copy_context().run, args=(self._run, work, future), name="store", daemon=True
        )
        try:
            thread.start()
        except BaseException:  # no thread to be had: nobody else would free its places
            self._leave()
            raise
        return future

    def _run(self, work: Callable[[], Answer], future: Future[Answer]) -> None:
        try:
            answer = work()
        except BaseException as error:  # noqa: BLE001 - raised again by whoever waits
            self._leave()
            future.set_exception(error)
        else:
            self._leave()
            future.set_result(answer)

    def _leave(self) -> None:
        self._running.release()
        self._places.release()

    def _wait_for(
        self, future: Future[Answer], deadline_s: float, undo: Callable[[Answer], object] | None
    ) -> Answer:
        try:
            return future.result(max(0.0, deadline_s - time.monotonic()))
        except TooSlow:
            if future.done():
                return future.result()  # at the last moment; or the work's own error
            if undo is not None:
                future.add_done_callback(lambda late: None if late.exception() else undo(late.result()))
            raise self._late() from None

    def _late(self) -> StoreUnavailable:
        self._on_refused("late")
        return StoreUnavailable(f"the object store did not answer within {math.ceil(self._timeout_s)} s")
