"""Fetches one large file in pieces, four at a time, into NAME.part, which a later run continues.

The pieces that are whole are noted beside it (NAME.part.json). Only when the digest of the whole is the
promised one does the file get its name, in one step; otherwise it is removed. It is given a
source of URLs.
"""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path
from typing import BinaryIO

from cleanclip import places
from cleanclip.aio.crew import Aside, Crew
from cleanclip.aio.store import Store, UrlSource
from cleanclip.errors import DigestMismatch
from cleanclip.transfer import Meter

NUM_PARALLEL = 4
PIECE_BYTES = 16 * 1024 * 1024
_HASH_BYTES = 1024 * 1024


class _Stopped(Exception):
    """Another piece failed; this one is given up."""


class Download:
    """One file on its way to `target`."""

    def __init__(
        self,
        store: Store,
        url_of: UrlSource,
        target: Path,
        *,
        size_bytes: int,
        sha256: str,
        meter: Meter,
        piece_bytes: int = PIECE_BYTES,
    ) -> None:
        self._store = store
        self._url_of = url_of
        self._target = target
        self._part = target.with_name(target.name + ".part")
        self._note = target.with_name(target.name + ".part.json")
        self._size_bytes = size_bytes
        self._sha256 = sha256
        self._piece_bytes = piece_bytes
        self._num_pieces = -(-size_bytes // piece_bytes)
        self._meter = meter
        self._lock = threading.Lock()
        self._whole: set[int] = set()
        self._stop = threading.Event()

    async def run(self, *, resume: bool) -> None:
        """Raises StoreError, ApiError, DigestMismatch, OSError; what has arrived stays for the next run."""
        self._whole = self._recall() if resume else set()
        with self._part.open("r+b" if self._whole else "wb") as file:
            file.truncate(self._size_bytes)
        self._meter.add_existing(sum(self._length(piece) for piece in self._whole))
        await self._fetch([piece for piece in range(self._num_pieces) if piece not in self._whole])
        self._meter.finish()
        await self._adopt()

    def _recall(self) -> set[int]:
        note = places.read_json(self._note)
        is_ours = (
            note.get("sha256") == self._sha256
            and note.get("piece_bytes") == self._piece_bytes
            and self._part.exists()
            and self._part.stat().st_size == self._size_bytes
        )
        pieces = note.get("whole")
        if not is_ours or not isinstance(pieces, list):
            return set()
        return {piece for piece in pieces if isinstance(piece, int) and 0 <= piece < self._num_pieces}

    async def _fetch(self, pieces: list[int]) -> None:
        crew = Crew(NUM_PARALLEL, "download")
        try:
            for piece in pieces:
                if await crew.begin(self._fetch_piece, piece) is None:
                    break
            await crew.succeed()
        finally:
            self._stop.set()
            await crew.close(wait=True)

    async def _fetch_piece(self, piece: int) -> None:
        start = piece * self._piece_bytes
        with self._part.open("r+b") as file:
            await self._store.get_range(
                self._url_of,
                start,
                start + self._length(piece),
                write=file.write,
                rewind=lambda: file.seek(start),
                on_bytes=self._passed,
            )
            file.flush()
            async with Aside() as aside:
                await aside.do(os.fsync, file.fileno())
        with self._lock:
            self._whole.add(piece)
            places.write_private(
                self._note,
                {"sha256": self._sha256, "piece_bytes": self._piece_bytes, "whole": sorted(self._whole)},
            )

    def _length(self, piece: int) -> int:
        return min(self._piece_bytes, self._size_bytes - piece * self._piece_bytes)

    def _passed(self, num_bytes: int) -> None:
        if self._stop.is_set() and num_bytes > 0:
            raise _Stopped
        self._meter.moved(num_bytes)

    async def _adopt(self) -> None:
        actual = await sha256_of(self._part)
        if actual != self._sha256:
            self._part.unlink()
            self._note.unlink(missing_ok=True)
            raise DigestMismatch(self._target.name, expected=self._sha256, actual=actual)
        os.replace(self._part, self._target)
        self._note.unlink(missing_ok=True)


async def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        async with Aside() as aside:
            while await aside.do(_hash_some, file, digest):
                pass
    return digest.hexdigest()


def _hash_some(file: BinaryIO, digest: hashlib._Hash) -> int:
    piece = file.read(_HASH_BYTES)
    digest.update(piece)
    return len(piece)
