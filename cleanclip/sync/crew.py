"""Several things at a time, and what blocks: threads. `cleanclip.aio.crew` has the same names with tasks.

These two modules are what differs between the clients beside `await`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
Work = Future
"""What was begun; `result()` once it is done."""


class Aside:
    """Does what blocks: here, where blocking is the way of things, simply so."""

    def __enter__(self) -> Aside:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def do(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return work(*args, **kwargs)


class Crew:
    """Works on at most `size` things at a time, until one fails."""

    def __init__(self, size: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(size, thread_name_prefix=name)
        self._places = threading.Semaphore(size)
        self._begun: list[Future[object]] = []
        self._has_failed = threading.Event()

    def begin(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Work[T] | None:
        """Waits for a free place. None: something has failed, and nothing is begun any more."""
        self._places.acquire()
        if self._has_failed.is_set():
            return None

        def done() -> T:
            try:
                return work(*args, **kwargs)
            except BaseException:
                self._has_failed.set()
                raise
            finally:
                self._places.release()

        begun = self._pool.submit(done)
        self._begun.append(begun)  # type: ignore[arg-type]  # nobody puts anything into it
        return begun

    def settle(self) -> None:
        """Until all that was begun has ended, well or not."""
        wait(self._begun)

    def succeed(self) -> None:
        """Until all that was begun is done; raises the first failure at once."""
        ended, _ = wait(self._begun, return_when=FIRST_EXCEPTION)
        for work in ended:
            work.result()

    def close(self, *, wait: bool) -> None:
        """Begin nothing of what waits; `wait` for what is on its way."""
        self._pool.shutdown(wait=wait, cancel_futures=True)
