"""Uploads: the plain calls, and `upload_file`, which does all of it and resumes what was interrupted."""

import hashlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from cleanclip.aio.downloading import sha256_of
from cleanclip.aio.sending import PartSender, Sent, read_in_slices
from cleanclip.aio.store import Store
from cleanclip.aio.upload_calls import UploadCalls
from cleanclip.aio.wire import Wire
from cleanclip.errors import CleanClipError, Conflict, DigestMismatch, FileChanged, NotFound, StoreUnreachable
from cleanclip.memory import Memory, of_file
from cleanclip.models import Upload
from cleanclip.transfer import Meter, OnTransfer, SentFile

_SEND_AGAIN = frozenset({"upload_parts_missing", "upload_part_mismatch"})


class Uploads(UploadCalls):
    """`client.uploads`."""

    def __init__(self, wire: Wire, store: Store) -> None:
        super().__init__(wire)
        self._store = store

    async def upload_file(
        self,
        path: str | Path,
        *,
        purpose: str = "checkpoint",
        declared: Mapping[str, Any] | None = None,
        sha256: str | None = None,
        progress: OnTransfer | None = None,
        resume: bool = True,
    ) -> SentFile:
        """Send a file, straight to the object store where it can be reached, and complete the upload.

        An upload of the same file that was interrupted continues where it stopped. `sha256`: the digest that
        the file should have; it is checked here before the upload is completed, and by the service.
        `declared`: what a checkpoint's tensors do not say, for example {"quick_gelu": True}.

        Raises ApiError, TransportError, DigestMismatch, FileChanged, OSError.

        Example:
            sent = await client.uploads.upload_file(file, declared={"quick_gelu": True})
            checkpoint = await client.checkpoints.wait(sent.checkpoint_id, sha256=sent.sha256)
        """
        path = Path(path)
        sha256 = None if sha256 is None else sha256.lower()
        memory = Memory("uploads", self._wire.base_url, of_file(path), purpose, dict(declared or {}))
        upload = await self._unfinished(memory, path) if resume else None
        if upload is None:
            upload = await self.create(
                filename=path.name,
                size_bytes=path.stat().st_size,
                purpose=purpose,
                declared=declared,
                sha256=sha256,
            )
            memory.remember(upload_id=upload.id)
        try:
            sent = await self._deliver(upload, path, sha256, progress)
        except (FileChanged, DigestMismatch):
            memory.forget()
            await self._give_up(upload.id)
            raise
        except (Conflict, NotFound):
            memory.forget()
            raise
        memory.forget()
        return sent

    async def _unfinished(self, memory: Memory, path: Path) -> Upload | None:
        upload_id = memory.recall().get("upload_id")
        if not isinstance(upload_id, str):
            return None
        try:
            upload = await self.get(upload_id)
        except NotFound:
            return None
        is_usable = upload.state in {"open", "completed"} and upload.size_bytes == path.stat().st_size
        return upload if is_usable else None

    async def _deliver(
        self, upload: Upload, path: Path, sha256: str | None, progress: OnTransfer | None
    ) -> SentFile:
        clock = self._wire.clock
        meter = Meter(upload.size_bytes, progress, clock)
        is_streamed = False
        for is_last_round in (False, True):
            if upload.state == "completed":  # by a run that ended before it could say so
                meter.add_existing(upload.size_bytes)
                sent = Sent(sha256=await sha256_of(path), parts=None, num_parts_resumed=upload.num_parts)
                break
            sender = PartSender(self, self._store, upload=upload, path=path, meter=meter, clock=clock)
            try:
                sent = await sender.run()
            except StoreUnreachable:
                if sender.num_sent:
                    raise
                sent, is_streamed = await self._stream(upload, path, meter), True
            _check(path, sha256, sent.sha256)
            try:
                upload = await self.complete(upload.id, sent.parts, sha256=sent.sha256)
                break
            except Conflict as refusal:
                if is_last_round or refusal.code not in _SEND_AGAIN:
                    raise
                upload = await self.get(upload.id)
                meter.reset()
        meter.finish()
        _check(path, sha256, sent.sha256)
        return SentFile(
            upload=upload,
            sha256=sent.sha256,
            num_parts_resumed=sent.num_parts_resumed,
            is_streamed=is_streamed,
        )

    async def _stream(self, upload: Upload, path: Path, meter: Meter) -> Sent:
        digests = [hashlib.sha256()]

        def content() -> AsyncIterator[bytes]:
            digests[0] = hashlib.sha256()
            return read_in_slices(path, digests[0], meter, upload.size_bytes)

        await self.put_content(upload.id, upload.size_bytes, content)
        return Sent(sha256=digests[0].hexdigest(), parts=None, num_parts_resumed=0)

    async def _give_up(self, upload_id: str) -> None:
        try:
            await self.cancel(upload_id)
        except CleanClipError:
            return  # it expires by itself; the reason for giving up matters more


def _check(path: Path, expected: str | None, actual: str) -> None:
    if expected is not None and expected != actual:
        raise DigestMismatch(path.name, expected=expected, actual=actual)
