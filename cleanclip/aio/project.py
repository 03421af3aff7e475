"""The trail, deletions and their receipts, nulls, kept policies. Calls raise ApiError, TransportError."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from cleanclip.aio.wire import Wire
from cleanclip.models import Null, Page
from cleanclip.project_models import Deletion, Policy, TrailEntry


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
