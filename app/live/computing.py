"""Places for requests that mostly compute (dry runs, lists). They take the interpreter from others, so few
run at once, a place rests after each, and projects take turns.

What one of them computes is bounded (some 50 ms). A share of the interpreter is the limit, not a number of
requests: whoever sends dearer ones gets fewer.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

from app.domain.errors import Unavailable

_TRY_AGAIN_AFTER_S = 2


@dataclass(eq=False)
class _Turn:
    """Of one project: the first of its requests waits for a place, the others for the turn."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    num_waiting: int = 0


class ComputingPlaces:
    """`num` requests at once; of a project `most_waiting` may wait, each for `patience_s`; others are
    refused after `refused_after_s`. A place rests `rests` times as long as it was taken: requests get the
    share 1 / (1 + rests) of its time. Used by one event loop."""

    def __init__(
        self,
        num: int,
        *,
        code: str,
        what: str,
        most_waiting: int,
        patience_s: float = 10.0,
        rests: float = 3.0,
        refused_after_s: float = 0.0,
    ) -> None:
        self._free = asyncio.Semaphore(num)
        self._code = code
        self._what = what
        self._most_waiting = most_waiting
        self._patience_s = patience_s
        self._rests = rests
        self._refused_after_s = refused_after_s
        self._turns: WeakValueDictionary[str, _Turn] = WeakValueDictionary()

    @asynccontextmanager
    async def one_for(self, project_id: str) -> AsyncIterator[None]:
        """A place while the block lasts. Raises Unavailable (`code`)."""
        turn = self._turns.setdefault(project_id, _Turn())
        if turn.num_waiting >= self._most_waiting:
            await asyncio.sleep(self._refused_after_s)
            raise self._busy(f"{self._most_waiting} {self._what} of the project are waiting already.")
        async with AsyncExitStack() as held:
            turn.num_waiting += 1
            try:
                async with asyncio.timeout(self._patience_s):
                    await held.enter_async_context(turn.lock)
                    await self._free.acquire()
            except TimeoutError:
                raise self._busy(
                    f"The project's {self._what} did not begin within {self._patience_s:g} s."
                ) from None
            finally:
                turn.num_waiting -= 1
            held.callback(self._rest, asyncio.get_running_loop().time())
            yield

    def _rest(self, taken_at_s: float) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(self._rests * (loop.time() - taken_at_s), self._free.release)

    def _busy(self, message: str) -> Unavailable:
        return Unavailable(
            self._code,
            message,
            f"Send fewer {self._what} at once, and try again.",
            retry_after_s=_TRY_AGAIN_AFTER_S,
        )
