"""Limits per minute: the same of the broker's implementation and of the fake; and what an outage does."""

import asyncio
import secrets
from collections.abc import Callable
from typing import Any

import pytest
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from app.queue.rates import MAX_KEPT, BrokerRates, Rates
from tests.fakes.rates import FakeRates

Make = Callable[[], Rates]


@pytest.fixture(params=["broker", "fake"])
def make(request: pytest.FixtureRequest) -> Make:
    if request.param == "fake":
        shared = FakeRates()
        return lambda: shared
    url: str = request.getfixturevalue("broker_url")
    prefix = secrets.token_hex(4)
    return lambda: BrokerRates(url, key_prefix=prefix, timeout_s=10.0)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows by a key with each time that a broker is asked to count."""
    keys: list[str] = []
    hit = SlidingWindowCounterRateLimiter.hit

    async def noted(limiter: Any, item: Any, key: str, **options: Any) -> bool:
        keys.append(key)
        return await hit(limiter, item, key, **options)

    monkeypatch.setattr(SlidingWindowCounterRateLimiter, "hit", noted)
    return keys


def test_so_many_pass_in_a_minute_and_no_more(make: Make) -> None:
    async def check() -> None:
        rates = make()
        found = [await rates.spend("k", 5) for _ in range(7)]
        assert [one.is_allowed for one in found] == [True] * 5 + [False] * 2
        assert [one.remaining for one in found] == [4, 3, 2, 1, 0, 0, 0]
        assert all(one.limit == 5 and 1 <= one.reset_s <= 60 for one in found)
        await rates.close()

    asyncio.run(check())


def test_keys_are_counted_apart_and_looking_counts_nothing(make: Make) -> None:
    async def check() -> None:
        rates = make()
        await rates.spend("a", 1)
        for _ in range(3):
            looked = await rates.look("b", 1)
            assert looked.is_allowed
        full = await rates.look("a", 1)
        assert not full.is_allowed
        await rates.close()

    asyncio.run(check())


def test_many_at_once_do_not_pass_more_than_the_limit(make: Make) -> None:
    async def check() -> None:
        one, two = make(), make()  # as two processes
        found = await asyncio.gather(*(rates.spend("k", 300) for _ in range(250) for rates in (one, two)))
        num_allowed = sum(answer.is_allowed for answer in found)
        assert 294 <= num_allowed <= 300, "batches of a hundredth: that little may go to waste"
        await one.close()
        await two.close()

    asyncio.run(check())


def test_without_a_broker_a_process_counts_alone_and_it_is_told_once(asked: list[str]) -> None:
    async def check() -> None:
        reported: list[None] = []
        rates = BrokerRates(
            "redis://127.0.0.1:1/0", on_outage=lambda: reported.append(None), now_s=lambda: 0.0
        )
        await rates.spend("k", 60)
        asked.clear()
        found = [await rates.spend("k", 60) for _ in range(100)]
        assert sum(one.is_allowed for one in found) == 59, "the limit holds in each process"
        assert not (await rates.look("k", 60)).is_allowed
        assert asked == [], "it is not asked for a while"
        assert reported == [None]
        await rates.close()

    asyncio.run(check())


def test_no_crowd_of_strangers_gives_a_project_its_limit_again() -> None:
    async def check() -> None:
        rates = BrokerRates("redis://127.0.0.1:1/0", now_s=lambda: 0.0)  # one outage, one window
        for _ in range(5):
            await rates.spend("project/a", 5)
        first, *others = (f"failed/{number}" for number in range(MAX_KEPT + 2))
        await rates.spend(first, 1)
        for address in others:
            await rates.spend(address, 1)
        assert not (await rates.spend("project/a", 5)).is_allowed
        assert not (await rates.spend(others[1], 1)).is_allowed, "of the strangers the last are known"
        assert (await rates.spend(first, 1)).is_allowed, "the first is forgotten"
        await rates.close()

    asyncio.run(check())


def test_a_burst_of_many_tenants_is_no_outage_and_every_request_is_counted(broker_url: str) -> None:
    async def check() -> None:
        reported: list[None] = []
        prefix = secrets.token_hex(4)
        rates = BrokerRates(
            broker_url, key_prefix=prefix, on_outage=lambda: reported.append(None), timeout_s=2.0
        )
        keys = [f"k{number}" for number in range(100)]
        found = await asyncio.gather(*(rates.spend(key, 5) for _ in range(8) for key in keys))
        assert sum(one.is_allowed for one in found) == 500
        assert reported == []
        other = BrokerRates(broker_url, key_prefix=prefix)  # another process sees the same
        assert not any([(await other.look(key, 5)).is_allowed for key in keys])
        await rates.close()
        await other.close()

    asyncio.run(check())


def test_nothing_of_a_busy_limit_goes_to_waste(broker_url: str) -> None:
    async def check() -> None:
        rates = BrokerRates(broker_url, key_prefix=secrets.token_hex(4), timeout_s=10.0)

        async def ask(num: int) -> int:
            return sum([(await rates.spend("k", 600)).is_allowed for _ in range(num)])

        assert sum(await asyncio.gather(*(ask(20) for _ in range(50)))) == 600
        await rates.close()

    asyncio.run(check())


def test_a_broker_that_does_not_answer_is_away_after_three_tries() -> None:
    async def check() -> None:
        async def silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(30)
            writer.close()

        reported: list[None] = []
        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        rates = BrokerRates(
            f"redis://127.0.0.1:{port}/0", timeout_s=0.02, on_outage=lambda: reported.append(None)
        )
        found = [(await rates.spend("k", 5)).is_allowed for _ in range(2)]
        assert reported == [], "this process itself may have been late"
        found += [(await rates.spend("k", 5)).is_allowed for _ in range(5)]
        assert reported == [None]
        assert found == [True] * 5 + [False] * 2, "counted meanwhile"
        await rates.close()
        server.close()

    asyncio.run(check())


def test_a_busy_key_costs_a_round_trip_in_many_requests(broker_url: str, asked: list[str]) -> None:
    async def check() -> None:
        rates = BrokerRates(broker_url, key_prefix=secrets.token_hex(4), now_s=lambda: 0.0, timeout_s=10.0)
        for _ in range(500):
            assert (await rates.spend("k", 6000)).is_allowed
        assert 1 <= len(asked) <= 20
        await rates.close()

    asyncio.run(check())
