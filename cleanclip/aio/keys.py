"""API keys of the project: make, read, list, rename, rotate, revoke. Needs a key with scope admin."""

from collections.abc import Sequence
from typing import Any

from cleanclip.aio.wire import Wire
from cleanclip.errors import UnexpectedAnswer
from cleanclip.models import Page
from cleanclip.project_models import IssuedKey, Key


class Keys:
    """`client.keys`. Every call raises ApiError, TransportError."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def create(
        self,
        *,
        name: str,
        scopes: Sequence[str],
        expires_in_s: int | None = None,
        idempotency_key: str | None = None,
    ) -> IssuedKey:
        """Create a key; only this answer has its text, in `key`. `scopes`: read, upload, run, admin.

        Raises UnexpectedAnswer where the key was made but the answer that held it was lost.

        Example:
            made = await client.keys.create(name="nightly audits", scopes=["read", "run"])
            print(made.key)
        """
        body: dict[str, Any] = {"name": name, "scopes": [*scopes]}
        if expires_in_s is not None:
            body["expires_in_s"] = expires_in_s
        return await self._issued("/v1/keys", body, idempotency_key)

    async def get(self, key_id: str) -> Key:
        """What it may do, and when it was last used.

        Example:
            print((await client.keys.get(key.id)).last_used_at)
        """
        return await self._wire.get(Key, f"/v1/keys/{key_id}")

    async def rename(self, key_id: str, name: str) -> Key:
        """Give it another name; the trail shows the new one beside its id.

        Example:
            key = await client.keys.rename(key.id, "nightly audits of release 7")
        """
        return await self._wire.patch(Key, f"/v1/keys/{key_id}", {"name": name})

    async def list(self, *, after: str | None = None, limit: int | None = None) -> Page[Key]:
        """One page, newest first; revoked and expired ones too.

        Example:
            for found in (await client.keys.list()).data:
                print(found.id, found.name, found.scopes)
        """
        return await self._wire.get(Page[Key], "/v1/keys", {"after": after, "limit": limit})

    async def rotate(
        self, key_id: str, *, overlap_s: int | None = None, idempotency_key: str | None = None
    ) -> IssuedKey:
        """A key of the same name and scopes; the old one stays valid for `overlap_s`, a day unless given.

        Raises as `create`.

        Example:
            made = await client.keys.rotate(key.id, overlap_s=3600)
            print(made.key)
        """
        body = {} if overlap_s is None else {"overlap_s": overlap_s}
        return await self._issued(f"/v1/keys/{key_id}/rotate", body, idempotency_key)

    async def revoke(self, key_id: str) -> Key:
        """Stop it for good. Refused (Conflict) for the last one with scope admin.

        Example:
            print((await client.keys.revoke(key.id)).state)
        """
        return await self._wire.post(Key, f"/v1/keys/{key_id}/revoke")

    async def _issued(self, path: str, body: dict[str, Any], idempotency_key: str | None) -> IssuedKey:
        issued = await self._wire.post(IssuedKey, path, body, idempotency_key=idempotency_key)
        if issued.key is None:
            raise UnexpectedAnswer(
                f"The key {issued.id} was created, but the answer that held it was lost, and a "
                "key is shown only once: revoke it and create another."
            )
        return issued
