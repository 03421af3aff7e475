"""One look for all who wait: nobody gets an answer from before they asked, and nobody waits for ever."""

import asyncio
import threading
from collections.abc import Sequence

import pytest

from app.live.coalescing import MAX_AT_ONCE, Coalesced


class Rows:
    """A slow database: a look holds `gate` and returns the numbers of the moment it began."""

    def __init__(self) -> None:
        self.numbers = {"a": 1, "b": 1}
        self.looks: list[tuple[str, list[str]]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.broken = False

    def __call__(self, project_id: str, ids: Sequence[str]) -> dict[str, int]:
        seen = {id: self.numbers[id] for id in ids if id in self.numbers}  # noqa: A001
        self.looks.append((project_id, list(ids)))
        assert self.gate.wait(10)
        if self.broken:
            raise ConnectionError("gone")
        return seen


async def _until(condition: object) -> None:
    assert callable(condition)
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


def test_what_is_asked_during_a_look_shares_the_next_one() -> None:
    async def scene() -> None:
        rows = Rows()
        rows.gate.clear()
        versions = Coalesced(rows)
        first = asyncio.create_task(versions.get("ours", "a"))
        await _until(lambda: rows.looks)
        later = [asyncio.create_task(versions.get("ours", id)) for id in ("a", "b", "a", "unknown")]  # noqa: A001
        await asyncio.sleep(0)
        rows.numbers["a"] = 2
        rows.gate.set()
        assert await first == 1
        assert await asyncio.gather(*later) == [2, 1, 2, None]
        assert rows.looks == [("ours", ["a"]), ("ours", ["a", "b", "unknown"])]

    asyncio.run(scene())


def test_projects_are_never_looked_up_together_and_do_not_wait_for_one_another() -> None:
    async def scene() -> None:
        rows = Rows()
        rows.gate.clear()
        versions = Coalesced(rows)
        asked = [asyncio.create_task(versions.get(project, "a")) for project in ("ours", "theirs")]
        await _until(lambda: len(rows.looks) == 2)
        assert sorted(rows.looks) == [("ours", ["a"]), ("theirs", ["a"])]
        rows.gate.set()
        assert await asyncio.gather(*asked) == [1, 1]

    asyncio.run(scene())


def test_a_look_that_fails_fails_for_all_who_wait_for_it_and_the_next_one_works() -> None:
    async def scene() -> None:
        rows = Rows()
        rows.broken = True
        versions = Coalesced(rows)
        found = await asyncio.gather(
            versions.get("ours", "a"), versions.get("ours", "b"), return_exceptions=True
        )
        assert [type(one) for one in found] == [ConnectionError, ConnectionError]
        rows.broken = False
        assert await versions.get("ours", "a") == 1

    asyncio.run(scene())


def test_one_who_hangs_up_takes_nobody_along() -> None:
    async def scene() -> None:
        rows = Rows()
        rows.gate.clear()
        versions = Coalesced(rows)
        impatient, patient = (asyncio.create_task(versions.get("ours", "a")) for _ in range(2))
        await _until(lambda: rows.looks)
        impatient.cancel()
        with pytest.raises(asyncio.CancelledError):
            await impatient
        rows.gate.set()
        assert await patient == 1

    asyncio.run(scene())


def test_more_than_fit_into_one_look_are_served_by_several() -> None:
    async def scene() -> None:
        rows = Rows()
        rows.numbers = {str(n): n for n in range(2 * MAX_AT_ONCE + 1)}
        versions = Coalesced(rows)
        assert await asyncio.gather(*(versions.get("ours", id) for id in rows.numbers)) == list(  # noqa: A001
            rows.numbers.values()
        )
        assert max(len(ids) for _, ids in rows.looks) <= MAX_AT_ONCE

    asyncio.run(scene())
