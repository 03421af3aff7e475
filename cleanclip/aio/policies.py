"""Policies that the project keeps by name: limits that a cleaned model is judged by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from cleanclip.aio.wire import Wire
from cleanclip.models import Page
from cleanclip.project_models import Policy


class Policies:
    """`client.policies`. Every call raises ApiError, TransportError."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def get(self, name: str) -> Policy:
        """What the name stands for now; a job's own copy is in the job. Raises NotFound.

        Example:
            print((await client.policies.get("release")).policy)
        """
        return await self._wire.get(Policy, _path(name))

    async def list(self, *, after: str | None = None, limit: int | None = None) -> Page[Policy]:
        """One page, newest first.

        Example:
            for found in (await client.policies.list()).data:
                print(found.name, found.policy)
        """
        return await self._wire.get(Page[Policy], "/v1/policies", {"after": after, "limit": limit})

    async def put(self, name: str, policy: Mapping[str, Any]) -> Policy:
        """Create a policy, or replace the one of that name. Needs scope admin.

        Jobs keep what they were ordered with. `client.methods()` tells the limits that there are.

        Example:
            policy = await client.policies.put("release", {"asr_at_most": 0.05, "ca_lost_at_most": 0.02})
        """
        return await self._wire.put(Policy, _path(name), dict(policy))

    async def delete(self, name: str) -> None:
        """Delete it; jobs keep what they were ordered with. Needs scope admin. Raises NotFound.

        Example:
            await client.policies.delete("release")
        """
        await self._wire.delete(_path(name))


def _path(name: str) -> str:
    return f"/v1/policies/{quote(name, safe='')}"
