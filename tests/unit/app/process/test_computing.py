"""Requests that compute take turns, so that others are answered between them."""

import asyncio
from functools import partial

import pytest

from app.domain.errors import Unavailable
from app.live.computing import ComputingPlaces

places_of = partial(ComputingPlaces, code="checks_busy", what="dry runs")


async def _take(places: ComputingPlaces, project_id: str) -> None:
    async with places.one_for(project_id):
        pass


def test_only_as_many_compute_at_once_as_there_are_places() -> None:
    running: list[int] = []

    async def compute(places: ComputingPlaces, number: int) -> int:
        async with places.one_for(f"prj_{number % 4}"):
            running.append(number)
            num_running = len(running)
            await asyncio.sleep(0)
            running.remove(number)
        return num_running

    async def all_of_them() -> list[int]:
        places = places_of(2, most_waiting=20, rests=0)
        return await asyncio.gather(*(compute(places, number) for number in range(20)))

    assert max(asyncio.run(all_of_them())) == 2


def test_a_project_that_waits_too_often_is_refused_and_another_is_not() -> None:
    async def crowd() -> None:
        places = places_of(1, most_waiting=1)
        async with places.one_for("prj_a"):
            waits = asyncio.create_task(_take(places, "prj_a"))
            await asyncio.sleep(0)
            with pytest.raises(Unavailable) as refused:
                await _take(places, "prj_a")
            assert (refused.value.code, refused.value.retry_after_s) == ("checks_busy", 2)
            other = asyncio.create_task(_take(places, "prj_b"))
            await asyncio.sleep(0)
            assert not other.done()
        await asyncio.gather(waits, other)
        await _take(places, "prj_a")

    asyncio.run(crowd())


def test_a_place_rests_as_long_as_it_was_taken_so_that_dear_requests_come_rarely() -> None:
    async def dear() -> list[float]:
        places, began_s = places_of(1, most_waiting=5, rests=3), []
        loop = asyncio.get_running_loop()

        async def compute() -> None:
            async with places.one_for("prj_a"):
                began_s.append(loop.time())
                await asyncio.sleep(0.02)

        await asyncio.gather(*(compute() for _ in range(3)))
        return began_s

    first, second, third = asyncio.run(dear())
    assert second - first >= 0.08
    assert third - second >= 0.08


def test_projects_take_turns_whoever_sends_more() -> None:
    async def crowd() -> list[str]:
        places, order = places_of(1, most_waiting=9, rests=0), []

        async def compute(project_id: str) -> None:
            async with places.one_for(project_id):
                order.append(project_id)
                await asyncio.sleep(0)

        await asyncio.gather(*(compute(f"prj_{name}") for name in "aaaab"))
        return order

    assert asyncio.run(crowd()).index("prj_b") <= 2


def test_lists_are_refused_by_their_own_name() -> None:
    async def crowd() -> Unavailable:
        places = ComputingPlaces(1, code="lists_busy", what="lists", most_waiting=0)
        with pytest.raises(Unavailable, match="lists of the project are waiting") as refused:
            await _take(places, "prj_a")
        return refused.value

    assert asyncio.run(crowd()).code == "lists_busy"


def test_nobody_waits_for_ever() -> None:
    async def impatient() -> None:
        places = places_of(1, most_waiting=5, patience_s=0.01, rests=0)
        async with places.one_for("prj_a"):
            with pytest.raises(Unavailable, match=r"not begin within 0\.01 s"):
                await _take(places, "prj_b")
        await _take(places, "prj_b")

    asyncio.run(impatient())
