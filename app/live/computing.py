"""Places for requests that only compute (dry runs). They take the interpreter from others, so few run
at once.

What one of them computes is bounded (some 50 ms); polls are answered between two of them.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.domain.errors import Unavailable

_TRY_AGAIN_AFTER_S = 2


class ComputingPlaces:
    """`num` requests at once; of a project `most_waiting` may wait, each for `patience_s`. Used by one event
    loop."""

    def __init__(self, num: int, *, most_waiting: int, patience_s: float = 10.0) -> None:
        self._free = asyncio.Semaphore(num)
        self._most_waiting = most_waiting
        self._patience_s = patience_s
        self._waiting: Counter[str] = Counter()

    @asynccontextmanager
    async def one_for(self, project_id: str) -> AsyncIterator[None]:
        """A place while the block lasts, in the order of asking. Raises Unavailable (`checks_busy`)."""
        if self._waiting[project_id] >= self._most_waiting:
            raise _busy(f"{self._waiting[project_id]} dry runs of the project wait already.")
        self._waiting[project_id] += 1
        try:
            async with asyncio.timeout(self._patience_s):
                await self._free.acquire()
        except TimeoutError:
            raise _busy(f"The dry run did not begin within {self._patience_s:g} s.") from None
        finally:
            self._waiting[project_id] -= 1
            self._waiting += Counter()  # forgets who waits for nothing
        try:
            yield
        finally:
            self._free.release()


def _busy(message: str) -> Unavailable:
    return Unavailable(
        "checks_busy",
        message,
        "Send fewer dry runs at once, and try again.",
        retry_after_s=_TRY_AGAIN_AFTER_S,
    )
