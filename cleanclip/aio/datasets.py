"""Datasets: register, read, list, rename, forget, wait for their validation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from cleanclip.aio.shares import deleted
from cleanclip.aio.waiting import wait_for
from cleanclip.aio.wire import Wire
from cleanclip.errors import Rejected
from cleanclip.models import Dataset, DatasetSamples, Page
from cleanclip.project_models import Deletion


class Datasets:
    """`client.datasets`. Every call raises ApiError, TransportError."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def create(
        self,
        *,
        kind: str,
        name: str | None = None,
        uri: str | None = None,
        upload_id: str | None = None,
        class_names: Sequence[str] | None = None,
        templates: Sequence[str] | None = None,
        max_skipped_share: float | None = None,
        idempotency_key: str | None = None,
    ) -> Dataset:
        """Register shards: `kind` is 'pairs' or 'labelled', the source a `uri` or an upload.

        `uri`: s3://bucket/prefix/ or s3://bucket/p/name-{000000..000009}.tar. `class_names` and `templates`
        with kind labelled only.

        Example:
            pairs = await client.datasets.create(kind="pairs", uri="s3://data/pairs/")
        """
        body: dict[str, Any] = {
            "kind": kind,
            "name": name,
            "uri": uri,
            "upload_id": upload_id,
            "class_names": None if class_names is None else [*class_names],
            "templates": None if templates is None else [*templates],
            "max_skipped_share": max_skipped_share,
        }
        given = {name: value for name, value in body.items() if value is not None}
        return await self._wire.post(Dataset, "/v1/datasets", given, idempotency_key=idempotency_key)

    async def get(self, dataset_id: str) -> Dataset:
        """What it holds, or why it was rejected.

        Example:
            print((await client.datasets.get(pairs.id)).summary)
        """
        return await self._wire.get(Dataset, f"/v1/datasets/{dataset_id}")

    async def samples(self, dataset_id: str) -> DatasetSamples:
        """Twelve, drawn from the whole set, with small images. Raises NotFound where none were kept.

        Example:
            for sample in (await client.datasets.samples(pairs.id)).samples:
                (folder / f"{sample.index}.jpg").write_bytes(sample.jpeg)
        """
        return await self._wire.get(DatasetSamples, f"/v1/datasets/{dataset_id}/samples")

    async def list(
        self,
        *,
        after: str | None = None,
        limit: int | None = None,
        state: str | None = None,
        kind: str | None = None,
    ) -> Page[Dataset]:
        """One page, newest first.

        Example:
            for found in (await client.datasets.list(kind="labelled", state="ready")).data:
                print(found.id, found.uri)
        """
        query = {"after": after, "limit": limit, "state": state, "kind": kind}
        return await self._wire.get(Page[Dataset], "/v1/datasets", query)

    async def rename(self, dataset_id: str, name: str | None) -> Dataset:
        """Give it another name; None takes the name away.

        Example:
            pairs = await client.datasets.rename(pairs.id, "clean pairs, 2026-11")
        """
        return await self._wire.patch(Dataset, f"/v1/datasets/{dataset_id}", {"name": name})

    async def delete(self, dataset_id: str) -> Deletion | None:
        """Forget it; what the reference points at stays. Refused (Conflict) while unfinished jobs read it.

        Example:
            deletion = await client.datasets.delete(pairs.id)
        """
        return await deleted(self._wire, f"/v1/datasets/{dataset_id}")

    async def wait(
        self,
        dataset_id: str,
        *,
        timeout_s: float | None = None,
        on_progress: Callable[[Dataset], None] | None = None,
    ) -> Dataset:
        """Until every sample was read. Raises Rejected, WaitTimeout.

        Example:
            pairs = await client.datasets.wait(pairs.id, timeout_s=600)
            print(pairs.summary)
        """
        found = await wait_for(
            self._wire, Dataset, f"/v1/datasets/{dataset_id}", timeout_s=timeout_s, on_change=on_progress
        )
        if found.state == "rejected":
            raise Rejected(found)
        return found
