"""`GuardedStore`: an `ObjectStore` for API processes, each call of which goes through the bulkhead.

What only signs a URL asks nobody and passes by. So does a part of a streaming upload, whose places and
threads are its own (`UploadSlots`), under the same breaker. Listings and bodies are fetched a page or a chunk
at a time: between two of them no thread is held, and the first comes before the answer begins.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import TypeVar

from app.storage.bulkhead import Bulkhead
from app.storage.port import OCTETS, Download, ObjectStore, Part, StoredObject

_PAGE = 1000
Item = TypeVar("Item")


class GuardedStore:
    """`store` behind `bulkhead`; implements `ObjectStore`."""

    def __init__(self, store: ObjectStore, bulkhead: Bulkhead) -> None:
        self._store = store
        self._bulkhead = bulkhead

    @property
    def bucket(self) -> str:
        return self._store.bucket

    def in_bucket(self, bucket: str) -> ObjectStore:
        return GuardedStore(self._store.in_bucket(bucket), self._bulkhead)

    def check(self) -> None:
        """By the caller's own thread: whether the store answers is asked apart from those who need it."""
        self._store.check()

    def ensure_bucket(self) -> None:
        self._bulkhead.call(self._store.ensure_bucket)

    # -- multipart uploads

    def create_multipart(self, key: str, *, content_type: str = OCTETS) -> str:
        return self._bulkhead.call(
            lambda: self._store.create_multipart(key, content_type=content_type),
            undo=lambda upload_id: self._store.abort_multipart(key, upload_id),
        )

    def presign_part(self, key: str, upload_id: str, number: int, *, size_bytes: int, expires_s: int) -> str:
        return self._store.presign_part(key, upload_id, number, size_bytes=size_bytes, expires_s=expires_s)

    def upload_part(self, key: str, upload_id: str, number: int, body: bytes) -> Part:
        with self._bulkhead.breaker.watching():
            return self._store.upload_part(key, upload_id, number, body)

    def list_parts(self, key: str, upload_id: str) -> list[Part]:
        return self._bulkhead.call(lambda: self._store.list_parts(key, upload_id))

    def complete_multipart(
        self, key: str, upload_id: str, parts: Sequence[Part], *, size_bytes: int
    ) -> StoredObject:
        return self._bulkhead.call(
            lambda: self._store.complete_multipart(key, upload_id, parts, size_bytes=size_bytes)
        )

    def abort_multipart(self, key: str, upload_id: str) -> None:
        self._bulkhead.call(lambda: self._store.abort_multipart(key, upload_id))

    # -- whole objects

    def put_bytes(
        self, key: str, body: bytes, *, content_type: str = OCTETS, only_if_absent: bool = False
    ) -> StoredObject:
        return self._bulkhead.call(
            lambda: self._store.put_bytes(key, body, content_type=content_type, only_if_absent=only_if_absent)
        )

    def put_file(self, key: str, path: Path, *, content_type: str = OCTETS) -> StoredObject:
        return self._bulkhead.call(lambda: self._store.put_file(key, path, content_type=content_type))

    def read_bytes(self, key: str, *, max_bytes: int) -> bytes:
        return self._bulkhead.call(lambda: self._store.read_bytes(key, max_bytes=max_bytes))

    def stream(self, key: str, *, start: int = 0, num_bytes: int | None = None) -> Iterator[bytes]:
        return self._by_pages(self._store.stream(key, start=start, num_bytes=num_bytes), page=1)

    def download_to(self, key: str, path: Path) -> Download:
        return self._bulkhead.call(lambda: self._store.download_to(key, path))

    def head(self, key: str) -> StoredObject:
        return self._bulkhead.call(lambda: self._store.head(key))

    def list_prefix(self, prefix: str) -> Iterator[StoredObject]:
        return self._by_pages(self._store.list_prefix(prefix), page=_PAGE)

    def delete(self, key: str) -> None:
        self._bulkhead.call(lambda: self._store.delete(key))

    def delete_prefix(self, prefix: str) -> int:
        return self._bulkhead.call(lambda: self._store.delete_prefix(prefix))

    def list_unfinished(self, place: str) -> list[tuple[str, str]]:
        return self._bulkhead.call(lambda: self._store.list_unfinished(place))

    def purge(self, place: str, *, max_objects: int | None = None) -> bool:
        return self._bulkhead.call(lambda: self._store.purge(place, max_objects=max_objects))

    def presign_get(self, key: str, *, expires_s: int, filename: str, content_type: str = OCTETS) -> str:
        return self._store.presign_get(key, expires_s=expires_s, filename=filename, content_type=content_type)

    def _by_pages(self, items: Iterator[Item], *, page: int) -> Iterator[Item]:
        """The same items, fetched `page` at a time; the first page now, so that its errors come now."""

        def fetch() -> list[Item]:
            return self._bulkhead.call(lambda: list(islice(items, page)))

        first = fetch()
        return chain(first, chain.from_iterable(iter(fetch, []))) if first else iter(())
