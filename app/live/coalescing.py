"""Many who ask at once share one look at the database.

A transaction costs the same whether it looks up one job or fifty. So while one look for a project is under
way, what is asked meanwhile waits for the next, which serves all of it. Nobody gets an answer from a look
that began before they asked: nothing is cached, nothing is stale. Projects do not wait for one another.
Belongs to the event loop that serves the application.

aiodataloader collects what is asked in one turn of the loop, however many looks are under way: under load
that is a look for nearly each request, where here one look of a project runs at a time.
"""

import asyncio
import contextvars
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeVar

from starlette.concurrency import run_in_threadpool

MAX_AT_ONCE = 200

Found = TypeVar("Found")


class Coalesced(Generic[Found]):
    """`read` takes a project and ids and returns what it found by id; it runs in a thread."""

    def __init__(self, read: Callable[[str, Sequence[str]], Mapping[str, Found]]) -> None:
        self._read = read
        self._waiting: dict[str, dict[str, asyncio.Future[Found | None]]] = {}
        self._looking: dict[str, asyncio.Task[None]] = {}

    async def get(self, project_id: str, id: str) -> Found | None:  # noqa: A002
        """What a look that begins after this call finds, None for nothing. Raises what `read` raises."""
        waiting = self._waiting.setdefault(project_id, {})
        if id not in waiting:
            waiting[id] = asyncio.get_running_loop().create_future()
        future = waiting[id]
        if project_id not in self._looking:
            # A context of its own: the look is not a part of the request that happened to come first.
            self._looking[project_id] = asyncio.get_running_loop().create_task(
                self._serve(project_id), context=contextvars.Context()
            )
        return await asyncio.shield(future)  # who hangs up gives up their own wait only

    async def _serve(self, project_id: str) -> None:
        try:
            while waiting := self._waiting.pop(project_id, None):
                ids = list(waiting)
                if len(ids) > MAX_AT_ONCE:
                    self._waiting[project_id] = {late: waiting.pop(late) for late in ids[MAX_AT_ONCE:]}
                await self._look(project_id, waiting)
        finally:
            del self._looking[project_id]

    async def _look(self, project_id: str, waiting: Mapping[str, asyncio.Future[Found | None]]) -> None:
        try:
            found = await run_in_threadpool(self._read, project_id, list(waiting))
        except BaseException as error:
            for future in waiting.values():
                future.set_exception(error)
                future.exception()  # marked as seen: all who waited may have hung up
            if not isinstance(error, Exception):
                raise
        else:
            for id, future in waiting.items():  # noqa: A001
                future.set_result(found.get(id))
