"""Checkpoints: let the service fetch, read, list, delete, wait for their inspection."""

from collections.abc import Callable, Mapping
from typing import Any

from cleanclip.aio.project import deleted
from cleanclip.aio.waiting import wait_for
from cleanclip.aio.wire import Wire
from cleanclip.errors import DigestMismatch, Rejected, Undecided
from cleanclip.models import Checkpoint, Page
from cleanclip.project_models import Deletion


class Checkpoints:
    """`client.checkpoints`. Every call raises ApiError, TransportError."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def create(
        self,
        source: str,
        *,
        sha256: str | None = None,
        max_size_bytes: int | None = None,
        declared: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> Checkpoint:
        """Let the service fetch it: hf://OWNER/NAME@REVISION[/PATH], https://… or s3://BUCKET/KEY.

        Its operator says from where (Conflict `sources_off`, InvalidInput `source_not_allowed`).

        Example:
            checkpoint = await client.checkpoints.create("hf://openai/clip-vit-base-patch32@main")
        """
        body: dict[str, Any] = {
            "source": source,
            "sha256": sha256,
            "max_size_bytes": max_size_bytes,
            "declared": dict(declared) if declared else None,
        }
        given = {name: value for name, value in body.items() if value is not None}
        return await self._wire.post(Checkpoint, "/v1/checkpoints", given, idempotency_key=idempotency_key)

    async def get(self, checkpoint_id: str) -> Checkpoint:
        """What it is, or why it was rejected.

        Example:
            checkpoint = await client.checkpoints.get(checkpoint.id)
            print(checkpoint.state, checkpoint.architecture_name)
        """
        return await self._wire.get(Checkpoint, f"/v1/checkpoints/{checkpoint_id}")

    async def list(
        self,
        *,
        after: str | None = None,
        limit: int | None = None,
        state: str | None = None,
        sha256: str | None = None,
    ) -> Page[Checkpoint]:
        """One page, newest first; `sha256`: those of these uploaded bytes alone.

        Example:
            for found in (await client.checkpoints.list(state="accepted")).data:
                print(found.id, found.filename)
        """
        return await self._wire.get(
            Page[Checkpoint],
            "/v1/checkpoints",
            {"after": after, "limit": limit, "state": state, "sha256": sha256},
        )

    async def delete(self, checkpoint_id: str) -> Deletion | None:
        """Delete it and its files; refused (Conflict) while unfinished jobs read it.

        Example:
            deletion = await client.checkpoints.delete(checkpoint.id)
        """
        return await deleted(self._wire, f"/v1/checkpoints/{checkpoint_id}")

    async def wait(
        self,
        checkpoint_id: str,
        *,
        timeout_s: float | None = None,
        sha256: str | None = None,
        on_progress: Callable[[Checkpoint], None] | None = None,
    ) -> Checkpoint:
        """Until it is accepted. `sha256`: what was sent; the service's own digest must be the same.

        Raises Rejected, Undecided, DigestMismatch, WaitTimeout.

        Example:
            checkpoint = await client.checkpoints.wait(checkpoint.id, timeout_s=600)
            print(checkpoint.findings)
        """
        checkpoint = await wait_for(
            self._wire,
            Checkpoint,
            f"/v1/checkpoints/{checkpoint_id}",
            timeout_s=timeout_s,
            on_change=on_progress,
        )
        if sha256 is not None and checkpoint.sha256 is not None and checkpoint.sha256 != sha256:
            raise DigestMismatch(
                checkpoint.filename or checkpoint.id, expected=sha256, actual=checkpoint.sha256
            )
        if checkpoint.state == "rejected":
            raise Rejected(checkpoint)
        if checkpoint.error is not None:
            raise Undecided(checkpoint)
        return checkpoint
