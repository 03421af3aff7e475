"""Datasets: register, push, read, list, rename, forget, wait for their validation."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cleanclip import packing
from cleanclip.aio.crew import Aside
from cleanclip.aio.project import deleted
from cleanclip.aio.uploads import Uploads
from cleanclip.aio.waiting import wait_for
from cleanclip.aio.wire import Wire
from cleanclip.errors import NotFound, Rejected, Undecided
from cleanclip.local_data import contents_of
from cleanclip.memory import Memory
from cleanclip.models import Dataset, DatasetSamples, Page
from cleanclip.packing import Contents
from cleanclip.project_models import Deletion
from cleanclip.transfer import OnTransfer

MAX_SKIPPED_SHARE = 0.01
"""Of the service, where nothing else is given."""


class Datasets:
    """`client.datasets`. Every call raises ApiError, TransportError."""

    def __init__(self, wire: Wire, uploads: Uploads) -> None:
        self._wire = wire
        self._uploads = uploads

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

    async def push(
        self,
        source: str | Path | Contents,
        *,
        name: str | None = None,
        max_skipped_share: float = MAX_SKIPPED_SHARE,
        on_packed: Callable[[int], None] | None = None,
        progress: OnTransfer | None = None,
        resume: bool = True,
    ) -> Dataset:
        """Send a local folder of images as a dataset: it is packed into one shard, uploaded and registered.

        The folder has class folders, captions beside images, a CSV or TSV file, or WebDataset shards; where
        that is not enough to know what it holds, give what `cleanclip.local_data.contents_of` returns. An
        interrupted push continues where it stopped; a folder that was pushed is found, not sent again. `name`
        is the folder's unless given. Raises Unreadable, FileChanged, OSError.

        Example:
            pushed = await client.datasets.push(folder)
            print(pushed.id, pushed.kind, pushed.name)
        """
        async with Aside() as aside:
            contents = source if isinstance(source, Contents) else await aside.do(contents_of, Path(source))
        contents.check_left_out(max_skipped_share)
        memory = Memory("pushes", self._wire.base_url, contents.identity, max_skipped_share)
        known = memory.recall() if resume else {}
        if (found := await self._pushed(known.get("dataset_id"))) is not None:
            return found
        upload_id = known.get("upload_id")
        shard = packing.shard_of(contents)
        if not isinstance(upload_id, str) or not await self._is_whole(upload_id):
            await _pack(contents, on_packed)
            sent = await self._uploads.upload_file(shard, purpose="dataset", progress=progress, resume=resume)
            packing.discard(shard)
            upload_id = sent.id
            memory.remember(upload_id=upload_id)
        found = await self.create(
            kind=contents.kind,
            name=name or shard.stem,
            upload_id=upload_id,
            class_names=contents.class_names,
            templates=contents.templates,
            max_skipped_share=max_skipped_share,
        )
        memory.remember(dataset_id=found.id)
        return found

    async def check(self, uri: str) -> None:
        """Raises InvalidInput where the service may not read `uri`, or no shard is there. Registers nothing.

        Example:
            await client.datasets.check("s3://data/pairs/")
        """
        headers = {"Content-Type": "application/json"}
        content = json.dumps({"uri": uri}).encode()
        await self._wire.send("POST", "/v1/datasets/check", headers=headers, content=content)

    async def _pushed(self, dataset_id: object) -> Dataset | None:
        if not isinstance(dataset_id, str):
            return None
        try:
            found = await self.get(dataset_id)
        except NotFound:
            return None
        return None if found.state == "rejected" else found

    async def _is_whole(self, upload_id: str) -> bool:
        try:
            return (await self._uploads.get(upload_id)).state == "completed"
        except NotFound:
            return False

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
        """Until every sample was read. Raises Rejected, Undecided, WaitTimeout.

        Example:
            pairs = await client.datasets.wait(pairs.id, timeout_s=600)
            print(pairs.summary)
        """
        dataset = await wait_for(
            self._wire, Dataset, f"/v1/datasets/{dataset_id}", timeout_s=timeout_s, on_change=on_progress
        )
        if dataset.state == "rejected":
            raise Rejected(dataset)
        if dataset.error is not None:
            raise Undecided(dataset)
        return dataset


async def _pack(contents: Contents, on_packed: Callable[[int], None] | None) -> None:
    steps = packing.pack(contents)
    async with Aside() as aside:
        while (num_samples := await aside.do(lambda: next(steps, None))) is not None:
            if on_packed is not None:
                on_packed(num_samples)
