"""Large bodies of a project are read one after the other, with rests between; small ones at once."""

import asyncio

import pytest

from app.domain.errors import Unavailable
from app.live.pacing import Pace

_LARGE = 100_000
_RESTS_S = 0.1
"""After each such body, at the share below: to read it takes 10 ms."""


async def _waited_s(pace: Pace, project_id: str, num_bytes: int) -> float:
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    await pace.before(project_id, num_bytes)
    return loop.time() - began_s


def test_a_large_body_waits_for_those_before_it_and_nobody_elses() -> None:
    async def read() -> None:
        pace = Pace(share=0.1)
        assert await _waited_s(pace, "prj_a", _LARGE) < _RESTS_S / 2
        others = _waited_s(pace, "prj_b", _LARGE), _waited_s(pace, "prj_a", 1_000)
        assert max(await asyncio.gather(*others)) < _RESTS_S / 2
        assert sorted(await asyncio.gather(*(_waited_s(pace, "prj_a", _LARGE) for _ in range(2)))) == [
            pytest.approx(_RESTS_S, abs=_RESTS_S / 2),
            pytest.approx(2 * _RESTS_S, abs=_RESTS_S / 2),
        ]

    asyncio.run(read())


def test_many_values_cost_more_than_their_bytes() -> None:
    async def read() -> None:
        pace = Pace(share=0.1)
        pace.after("prj_a", 1_000, num_values=400)
        assert await _waited_s(pace, "prj_a", _LARGE) < 0.02
        pace.after("prj_b", _LARGE, num_values=6_000)
        assert await _waited_s(pace, "prj_b", _LARGE) == pytest.approx(0.2, abs=0.1)

    asyncio.run(read())


def test_a_body_that_would_wait_too_long_is_refused_and_costs_nothing() -> None:
    async def read() -> None:
        pace = Pace(share=0.001, patience_s=1.0)
        await pace.before("prj_a", _LARGE)
        for _ in range(2):
            with pytest.raises(Unavailable) as refused:
                await pace.before("prj_a", _LARGE)
            assert (refused.value.code, refused.value.retry_after_s) == ("bodies_busy", 10)

    asyncio.run(read())
