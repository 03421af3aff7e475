"""Nulls: what reference models that were never poisoned measured, by which scans are judged."""

from __future__ import annotations

from cleanclip.aio.wire import Wire
from cleanclip.models import Null, Page


class Nulls:
    """`client.nulls`. Every call raises ApiError, TransportError."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def get(self, null_id: str) -> Null:
        """What it is of. Raises NotFound.

        Example:
            print((await client.nulls.get(null.id)).num_models)
        """
        return await self._wire.get(Null, f"/v1/nulls/{null_id}")

    async def list(self, *, after: str | None = None, limit: int | None = None) -> Page[Null]:
        """One page, newest first. The service's operators add nulls, for every project.

        Example:
            for null in (await client.nulls.list()).data:
                print(null.name, null.num_models, null.smallest_p)
        """
        return await self._wire.get(Page[Null], "/v1/nulls", {"after": after, "limit": limit})
