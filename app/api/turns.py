"""Lists take turns: one costs as much as several polls, and a client may ask for very many of them."""

from collections.abc import AsyncIterator

from fastapi import Depends

from app.api.auth import Known
from app.live.ports import PortsDep


async def _turn(caller: Known, ports: PortsDep) -> AsyncIterator[None]:
    async with ports.listing.one_for(caller.project_id):
        yield


IN_TURN = Depends(_turn, scope="function")
"""For every route with a page: the place is free again before the answer is sent."""
