"""The trail, deletions and their receipts. Calls raise ApiError, TransportError."""

from __future__ import annotations

from cleanclip.aio.wire import Wire
from cleanclip.models import Page
from cleanclip.project_models import Deletion, TrailEntry


class Trail:
    """`client.trail`: the trail of changes, and of refused attempts on keys. Needs scope admin."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def list(
        self,
        *,
        action: str | None = None,
        target_id: str | None = None,
        key_id: str | None = None,
        after: str | None = None,
        limit: int | None = None,
    ) -> Page[TrailEntry]:
        """One page, newest first.

        Example:
            for entry in (await client.trail.list(action="key.create")).data:
                print(entry.created_at, entry.key_id, entry.target_id)
        """
        query = {"action": action, "target_id": target_id, "key_id": key_id, "after": after, "limit": limit}
        return await self._wire.get(Page[TrailEntry], "/v1/trail", query)


class Deletions:
    """`client.deletions`."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def get(self, deletion_id: str) -> Deletion:
        """How it stands; at the end the receipt.

        Example:
            print((await client.deletions.get(deletion.id)).state)
        """
        return await self._wire.get(Deletion, f"/v1/deletions/{deletion_id}")

    async def list(self, *, after: str | None = None, limit: int | None = None) -> Page[Deletion]:
        """One page, newest first.

        Example:
            for found in (await client.deletions.list()).data:
                print(found.subject_id, found.state)
        """
        return await self._wire.get(Page[Deletion], "/v1/deletions", {"after": after, "limit": limit})


async def deleted(wire: Wire, path: str) -> Deletion | None:
    """DELETE `path`; None where a lost answer turned out to have been carried out, the receipt unnamed."""
    answer = await wire.delete(path)
    return wire.read(Deletion, answer) if answer.status_code == 202 else None
