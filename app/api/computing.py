"""A place for a request that only computes; it is free again before the answer is sent."""

from __future__ import annotations

from collections.abc import AsyncIterator

from fastapi import Depends

from app.api.auth import Runner
from app.live.ports import PortsDep


async def _place(caller: Runner, ports: PortsDep) -> AsyncIterator[None]:
    async with ports.computing.one_for(caller.project_id):
        yield


TAKES_A_PLACE = Depends(_place, scope="function")
