"""Sends the parts of one file: read once in order (and hashed), four on their way at a time.

Memory is bounded by five parts whatever the file's size. A part that the store holds already is read for the
digest and compared with its ETag, and not sent again.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from cleanclip.aio.crew import Aside, Crew, Work
from cleanclip.aio.store import SLICE_BYTES, Store
from cleanclip.aio.upload_calls import UploadCalls
from cleanclip.errors import FileChanged
from cleanclip.models import PartURL, StoredPart, Upload
from cleanclip.retries import AsyncClock
from cleanclip.transfer import Meter

NUM_PARALLEL = 4
URLS_PER_CALL = 16
URL_IS_FRESH_FOR_S = 600.0


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What one pass over the file gave; `parts` is None where the store returned no ETags."""

    sha256: str
    parts: tuple[StoredPart, ...] | None
    num_parts_resumed: int


class _Stopped(Exception):
    """The pass was broken off; what is on its way is given up."""


class _PartURLs:
    """URLs of parts, asked for in batches when they are needed."""

    def __init__(self, calls: UploadCalls, upload: Upload, clock: AsyncClock) -> None:
        self._calls = calls
        self._upload = upload
        self._clock = clock
        self._lock = asyncio.Lock()
        self._urls: dict[int, tuple[str, float]] = {}
        self._keep(upload.parts or ())

    def _keep(self, parts: Iterable[PartURL]) -> None:
        now = self._clock.now()
        self._urls.update({part.number: (part.url, now) for part in parts})

    async def url_of(self, number: int, is_fresh_wanted: bool) -> str:
        async with self._lock:
            url, since = self._urls.get(number, ("", float("-inf")))
            if is_fresh_wanted or self._clock.now() - since > URL_IS_FRESH_FOR_S:
                last = min(number + URLS_PER_CALL - 1, self._upload.num_parts)
                batch = await self._calls.parts(self._upload.id, range(number, last + 1))
                self._keep(batch.parts)
                url = self._urls[number][0]
            return url


class PartSender:
    """One pass over one file for one open upload."""

    def __init__(
        self,
        calls: UploadCalls,
        store: Store,
        *,
        upload: Upload,
        path: Path,
        meter: Meter,
        clock: AsyncClock,
    ) -> None:
        self._store = store
        self._upload = upload
        self._path = path
        self._meter = meter
        self._urls = _PartURLs(calls, upload, clock)
        self._stored: Mapping[int, StoredPart] = {part.number: part for part in upload.stored_parts or ()}
        self._stop = threading.Event()
        self._has_connected = False
        self.num_sent = 0

    async def run(self) -> Sent:
        """Send what is missing. When a part fails, none is begun any more, but those on their way arrive, so
        that a later run need not send them. Raises FileChanged, StoreUnreachable, StoreError, ApiError.
        """
        etags: dict[int, Work[str | None] | str] = {}
        crew = Crew(NUM_PARALLEL, "upload")
        digest = hashlib.sha256()
        try:
            async with aclosing(self._bodies(digest)) as bodies:
                async for number, body, held in bodies:
                    if held is not None:
                        etags[number] = held
                        self._meter.add_existing(len(body))
                        continue
                    work = await crew.begin(self._send, number, body)
                    if work is None:
                        break
                    etags[number] = work
            await crew.settle()
            found = {
                number: etag if isinstance(etag, str) else etag.result() for number, etag in etags.items()
            }
        finally:
            self._stop.set()
            await crew.close(wait=False)
        num_resumed = sum(isinstance(etag, str) for etag in etags.values())
        return Sent(
            sha256=digest.hexdigest(), parts=_claims(found, self._upload), num_parts_resumed=num_resumed
        )

    async def _bodies(self, digest: hashlib._Hash) -> AsyncGenerator[tuple[int, bytes, str | None], None]:
        """Each part's number and bytes, and its ETag where the store holds these bytes already."""
        with self._path.open("rb") as file:
            before = os.fstat(file.fileno())
            async with Aside() as aside:
                for number in range(1, self._upload.num_parts + 1):
                    yield number, *(await aside.do(self._read, file, number, digest))
            after = os.fstat(file.fileno())
            if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns) or file.read(1):
                raise _changed(self._path)

    def _read(self, file: BinaryIO, number: int, digest: hashlib._Hash) -> tuple[bytes, str | None]:
        body = file.read(_part_size(self._upload, number))
        if len(body) != _part_size(self._upload, number):
            raise _changed(self._path)
        digest.update(body)
        held = self._stored.get(number)
        return body, held.etag if held is not None and _is_same(held, body) else None

    async def _send(self, number: int, body: bytes) -> str | None:
        async def url_of(is_fresh_wanted: bool) -> str:
            return await self._urls.url_of(number, is_fresh_wanted)

        etag = await self._store.put(url_of, body, on_bytes=self._passed, has_connected=self._has_connected)
        self._has_connected = True
        self.num_sent += 1
        return etag

    def _passed(self, num_bytes: int) -> None:
        if self._stop.is_set() and num_bytes > 0:
            raise _Stopped
        self._meter.moved(num_bytes)


async def read_in_slices(
    path: Path, digest: hashlib._Hash, meter: Meter, size_bytes: int
) -> AsyncIterator[bytes]:
    """The whole file for one try of the streaming fallback, hashed while it is read. Raises FileChanged."""
    meter.reset()
    num_bytes = 0
    with path.open("rb") as file:
        while piece := file.read(SLICE_BYTES):
            num_bytes += len(piece)
            if num_bytes > size_bytes:
                raise _changed(path)
            digest.update(piece)
            yield piece
            meter.moved(len(piece))
    if num_bytes != size_bytes:
        raise _changed(path)


def _part_size(upload: Upload, number: int) -> int:
    if number < upload.num_parts:
        return upload.part_size_bytes
    return upload.size_bytes - (upload.num_parts - 1) * upload.part_size_bytes


def _is_same(held: StoredPart, body: bytes) -> bool:
    """Whether the stored part holds these bytes: the ETag of a part is its MD5 on every store that we know.

    Where it is not (some encryption at rest), the part is sent again, which costs time and nothing else.
    """
    if held.size_bytes != len(body):
        return False
    return held.etag.strip('"').lower() == hashlib.md5(body, usedforsecurity=False).hexdigest()


def _claims(etags: Mapping[int, str | None], upload: Upload) -> tuple[StoredPart, ...] | None:
    claims = []
    for number, etag in sorted(etags.items()):
        if etag is None:
            return None
        claims.append(StoredPart(number=number, size_bytes=_part_size(upload, number), etag=etag))
    return tuple(claims)


def _changed(path: Path) -> FileChanged:
    return FileChanged(f"{path} changed while it was being sent. Wait until it is written and send it again.")
