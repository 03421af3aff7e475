"""Limits per minute: the same of the broker's implementation and of the fake; and what an outage does."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable

import pytest

from app.queue.rates import BrokerRates, Rates
from tests.fakes.rates import FakeRates

Make = Callable[[], Rates]


@pytest.fixture(params=["broker", "fake"])
def make(request: pytest.FixtureRequest) -> Make:
    if request.param == "fake":
        shared = FakeRates()
        return lambda: shared
    url: str = request.getfixturevalue("broker_url")
    prefix = secrets.token_hex(4)
    return lambda: BrokerRates(url, key_prefix=prefix)


def test_so_many_pass_in_a_minute_and_no_more(make: Make) -> None:
    async def check() -> None:
        rates = make()
        found = [await rates.spend("k", 5) for _ in range(7)]
        assert [one.is_allowed for one in found if one] == [True] * 5 + [False] * 2
        assert [one.remaining for one in found if one] == [4, 3, 2, 1, 0, 0, 0]
        assert all(one is not None and one.limit == 5 and 1 <= one.reset_s <= 60 for one in found)
        await rates.close()

    asyncio.run(check())


def test_keys_are_counted_apart_and_looking_counts_nothing(make: Make) -> None:
    async def check() -> None:
        rates = make()
        await rates.spend("a", 1)
        for _ in range(3):
            looked = await rates.look("b", 1)
            assert looked is not None
            assert looked.is_allowed
        full = await rates.look("a", 1)
        assert full is not None
        assert not full.is_allowed
        await rates.close()

    asyncio.run(check())


def test_many_at_once_do_not_pass_more_than_the_limit(make: Make) -> None:
    async def check() -> None:
        one, two = make(), make()  # as two processes
        found = await asyncio.gather(*(rates.spend("k", 300) for _ in range(250) for rates in (one, two)))
        num_allowed = sum(answer.is_allowed for answer in found if answer is not None)
        assert 294 <= num_allowed <= 300, "batches of a hundredth: that little may go to waste"
        await one.close()
        await two.close()

    asyncio.run(check())


def test_without_a_broker_everything_passes_at_once_and_it_is_told_once() -> None:
    async def check() -> None:
        told: list[None] = []
        rates = BrokerRates("redis://127.0.0.1:1/0", on_outage=lambda: told.append(None))
        assert await rates.spend("k", 1) is None
        started = time.perf_counter()
        assert [await rates.spend("k", 1) for _ in range(100)] == [None] * 100
        assert time.perf_counter() - started < 0.1, "it is not asked for a while"
        assert told == [None]
        await rates.close()

    asyncio.run(check())


def test_counting_takes_less_than_a_millisecond(broker_url: str) -> None:
    async def check() -> None:
        rates = BrokerRates(broker_url, key_prefix=secrets.token_hex(4))
        await rates.spend("k", 6000)
        started = time.perf_counter()
        for _ in range(500):
            await rates.spend("k", 6000)
        assert (time.perf_counter() - started) / 500 < 0.001
        await rates.close()

    asyncio.run(check())
