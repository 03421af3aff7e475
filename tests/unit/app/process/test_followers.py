"""Followers of one process: their number is bounded, and an outage of the database is sat out, for a time."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Gauge

from app.domain.errors import QuotaExceeded, Unavailable
from app.live import followers as module
from app.live.followers import Followers
from app.services.api_keys import Caller
from app.settings import QuotaSettings, Settings, StreamSettings

SETTINGS = Settings(
    quotas=QuotaSettings(open_streams=2), streams=StreamSettings(look_every_s=0.02, max_open=3)
)


class DatabaseThatIsAway:
    """Counts how often it was asked."""

    num_asked = 0

    @contextmanager
    def unit_of_work(self, project_id: str | None = None) -> Iterator[Any]:
        self.num_asked += 1
        raise Unavailable("database_unavailable", "The database does not answer.", "Try again.")
        yield


def caller(project_id: str) -> Caller:
    return Caller(
        project_id=project_id,
        key_id="key_1",
        scopes=frozenset(["read"]),
        request_id="req_1",
        remote_addr=None,
    )


def made(database: DatabaseThatIsAway) -> tuple[Followers, Gauge]:
    gauge = Gauge("streams", "Open.", registry=CollectorRegistry())
    return Followers(database, SETTINGS, gauge), gauge  # type: ignore[arg-type]


def value(gauge: Gauge) -> float:
    return next(iter(gauge.collect())).samples[0].value


def test_a_project_and_the_process_have_so_many_streams_and_a_place_is_free_once_it_is_left() -> None:
    async def main() -> None:
        followers, gauge = made(DatabaseThatIsAway())
        first = followers.follow(caller("prj_1"), "job_1", 0)
        followers.follow(caller("prj_1"), "job_2", 0)
        with pytest.raises(QuotaExceeded) as refusal:
            followers.follow(caller("prj_1"), "job_1", 0)
        assert refusal.value.code == "too_many_streams"
        followers.follow(caller("prj_2"), "job_3", 0)
        with pytest.raises(Unavailable) as busy:
            followers.follow(caller("prj_3"), "job_4", 0)
        assert busy.value.code == "streams_busy"
        followers.leave(first)
        followers.leave(first)
        assert value(gauge) == 2
        followers.follow(caller("prj_3"), "job_4", 0)
        await followers.close()

    asyncio.run(main())


def test_an_outage_of_the_database_ends_streams_only_when_nobody_could_say_for_long_that_they_may(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "UNCHECKED_AT_MOST_S", 0.3)

    async def main() -> None:
        database = DatabaseThatIsAway()
        followers, _ = made(database)
        one = followers.follow(caller("prj_1"), "job_1", 0)
        assert await one.take(0.15) == b""
        assert not one.has_ended
        assert database.num_asked > 1, "it is asked again and again"
        assert await one.take(10.0) == b""
        assert one.has_ended
        followers.leave(one)
        await followers.close()

    asyncio.run(main())


def test_when_the_process_ends_so_do_the_streams() -> None:
    async def main() -> None:
        followers, _ = made(DatabaseThatIsAway())
        one = followers.follow(caller("prj_1"), "job_1", 0)
        followers.end_all()
        assert await one.take(10.0) == b""
        assert one.has_ended
        followers.leave(one)
        await followers.close()

    asyncio.run(main())
