"""Several things at a time, and what blocks: tasks, and one thread that ends with its block.

`client.crew` has the same names with threads; these two modules are what
differs between the clients beside `await`.
"""

from __future__ import annotations

import asyncio
from asyncio import Task
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
Work = Task
"""What was begun; `result()` once it is done."""


class Aside:
    """Does what blocks in a thread of its own. Leaving waits for the thread, so do little at a time."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="aside")

    async def __aenter__(self) -> Aside:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    async def do(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, lambda: work(*args, **kwargs))


class Crew:
    """Works on at most `size` things at a time, until one fails."""

    def __init__(self, size: int, name: str) -> None:
        self._name = name
        self._places = asyncio.Semaphore(size)
        self._begun: list[Task[Any]] = []
        self._has_failed = False

    async def begin(
        self, work: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs
    ) -> Work[T] | None:
        """Waits for a free place. None: something has failed, and nothing is begun any more."""
        await self._places.acquire()
        if self._has_failed:
            return None

        async def done() -> T:
            try:
                return await work(*args, **kwargs)
            except BaseException:
                self._has_failed = True
                raise
            finally:
                self._places.release()

        begun = asyncio.create_task(done(), name=self._name)
        self._begun.append(begun)
        return begun

    async def settle(self) -> None:
        """Until all that was begun has ended, well or not."""
        if self._begun:
            await asyncio.wait(self._begun)

    async def succeed(self) -> None:
        """Until all that was begun is done; raises the first failure at once."""
        if not self._begun:
            return
        ended, _ = await asyncio.wait(self._begun, return_when=asyncio.FIRST_EXCEPTION)
        for work in ended:
            work.result()

    async def close(self, *, wait: bool) -> None:
        """Break off what is on its way, and see it end, whatever `wait` says: no task outlives the call."""
        for work in self._begun:
            work.cancel()
        await asyncio.gather(*self._begun, return_exceptions=True)
