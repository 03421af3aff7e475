"""The streaming fallback (`curl -T`): one request body, cut into parts while it arrives.

Memory is bounded by three parts whatever the file's size: one being filled, one being copied out, one on its
way to the store. Everything goes into a fresh multipart upload that replaces the old one only when the
last byte is in and size and digest are right; a connection that breaks leaves nothing behind.
"""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator

from app.db.models.assets import Upload
from app.db.session import Database
from app.domain.errors import Conflict
from app.services.api_keys import Caller
from app.services.trail import note
from app.services.uploads import check_digest, check_open, upload_lost, wrong_size
from app.settings import UploadSettings
from app.storage.errors import UploadNotFound
from app.storage.port import ObjectStore


class PartSender:
    """Sends parts one after the other in a thread, hashing on the way, while the next one is filled."""

    def __init__(self, store: ObjectStore, key: str, store_upload_id: str) -> None:
        self._store = store
        self._key = key
        self._store_upload_id = store_upload_id
        self._digest = hashlib.sha256()
        self._number = 0
        self._in_flight: asyncio.Task[None] | None = None

    def _send(self, number: int, body: bytes) -> None:
        self._digest.update(body)
        self._store.upload_part(self._key, self._store_upload_id, number, body)

    async def send(self, buffer: bytearray, num_bytes: int) -> None:
        """Take the first `num_bytes` out of `buffer` as the next part; waits for the part before it."""
        await self.drain()
        body = bytes(memoryview(buffer)[:num_bytes])
        del buffer[:num_bytes]
        self._number += 1
        self._in_flight = asyncio.create_task(asyncio.to_thread(self._send, self._number, body))

    async def drain(self) -> None:
        """Wait until nothing is on its way; raises what the store raised."""
        task, self._in_flight = self._in_flight, None
        if task is not None:
            await task

    async def settle(self) -> None:
        """`drain` for a sender that is given up: its failure no longer matters."""
        task, self._in_flight = self._in_flight, None
        if task is not None:
            await asyncio.wait([task])

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


async def receive(
    database: Database,
    store: ObjectStore,
    caller: Caller,
    upload: Upload,
    chunks: AsyncIterator[bytes],
    *,
    announced_bytes: int | None,
) -> Upload:
    """Read the whole body into parts; the upload stays open, to be completed as any other.

    `announced_bytes` is the request's Content-Length. Raises Conflict unless open, InvalidInput
    (`upload_size_mismatch`, `upload_digest_mismatch`), and whatever `chunks` raises when it is cut. Where the
    upload was deleted meanwhile, NotFound or Conflict (`upload_lost`).
    """
    check_open(upload)
    if announced_bytes is not None and announced_bytes != upload.size_bytes:
        raise wrong_size(upload, f"the body has {announced_bytes}")
    begun = await asyncio.to_thread(store.create_multipart, upload.object_key)
    sender = PartSender(store, upload.object_key, begun)
    try:
        await send_parts(upload, chunks, sender)
        return await asyncio.to_thread(_adopt, database, store, caller, upload, begun)
    except BaseException as error:
        await asyncio.shield(_abandon(store, upload, begun, sender))
        if isinstance(error, UploadNotFound):  # the deletion took the parts that were on their way
            raise await asyncio.to_thread(_lost, database, caller, upload) from error
        raise


async def briskly(chunks: AsyncIterator[bytes], settings: UploadSettings) -> AsyncIterator[bytes]:
    """The same chunks. Raises Conflict (`upload_stalled`) where too few bytes came within `stream_window_s`
    of waiting for them; time in which the service is not ready for more does not count."""
    window_s = settings.stream_window_s
    num_needed = window_s * settings.min_stream_bytes_per_s
    waited_s, num_bytes = 0.0, 0
    while True:
        began_s = time.monotonic()
        try:
            async with asyncio.timeout(window_s - waited_s):
                chunk = await anext(chunks)
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            raise Conflict(
                "upload_stalled",
                f"{num_bytes} bytes arrived within {window_s:g} seconds; at least "
                f"{num_needed:.0f} are needed.",
                "Send the file again, or upload it in parts, which can be resumed.",
            ) from error
        waited_s += time.monotonic() - began_s
        num_bytes += len(chunk)
        if num_bytes >= num_needed:
            waited_s, num_bytes = 0.0, 0
        yield chunk


async def send_parts(upload: Upload, chunks: AsyncIterator[bytes], sender: PartSender) -> None:
    """Cut the body as planned, and send it. Raises InvalidInput where size or digest are not as declared."""
    buffer = bytearray()
    num_bytes = 0
    async for chunk in chunks:
        num_bytes += len(chunk)
        if num_bytes > upload.size_bytes:
            raise wrong_size(upload, f"the body has {num_bytes} or more")
        buffer += chunk
        while len(buffer) >= upload.part_size_bytes:
            await sender.send(buffer, upload.part_size_bytes)
    if num_bytes != upload.size_bytes:
        raise wrong_size(upload, f"the body has {num_bytes} or more")
    if buffer:
        await sender.send(buffer, len(buffer))
    await sender.drain()
    check_digest(upload, sender.sha256, pointer=None)


def _adopt(database: Database, store: ObjectStore, caller: Caller, upload: Upload, begun: str) -> Upload:
    with database.unit_of_work(caller.project_id) as unit:
        row = unit.uploads.get(upload.project_id, upload.id, for_update=True)
        check_open(row)
        replaced, row.store_upload_id = row.store_upload_id, begun
        note(unit, caller, "upload.content", row.id)
    if replaced is not None:
        store.abort_multipart(upload.object_key, replaced)
    return row


def _lost(database: Database, caller: Caller, upload: Upload) -> Conflict:
    """Raises NotFound or Conflict where the row says what became of the upload."""
    with database.unit_of_work(caller.project_id) as unit:
        check_open(unit.uploads.get(upload.project_id, upload.id))
    return upload_lost()


async def _abandon(store: ObjectStore, upload: Upload, begun: str, sender: PartSender) -> None:
    await sender.settle()
    await asyncio.to_thread(store.abort_multipart, upload.object_key, begun)
