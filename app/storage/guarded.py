"""`guarded`: an `ObjectStore` for API processes, each call of which goes through the bulkhead.

What only signs a URL asks nobody and passes by. So does a part of a streaming upload, whose places and
threads are its own (`UploadSlots`), under the same breaker. Listings and bodies are fetched a page or a chunk
at a time: between two of them no thread is held, and the first comes before the answer begins.
"""

from collections.abc import Iterator
from itertools import chain, islice
from typing import Any, TypeVar, cast

from app.storage.bulkhead import Bulkhead
from app.storage.port import OCTETS, ObjectStore, Part, StoredObject

_PAGE = 1000
_ASKS_NOBODY = frozenset({"bucket", "presign_get", "presign_part"})
Item = TypeVar("Item")


def guarded(store: ObjectStore, bulkhead: Bulkhead) -> ObjectStore:
    """`store` behind `bulkhead`."""
    return cast("ObjectStore", _GuardedStore(store, bulkhead))


class _GuardedStore:
    """Every call of the port that is not written here goes through the bulkhead as it is."""

    def __init__(self, store: ObjectStore, bulkhead: Bulkhead) -> None:
        self._store = store
        self._bulkhead = bulkhead

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._store, name)
        if name in _ASKS_NOBODY:
            return call
        return lambda *args, **kwargs: self._bulkhead.call(lambda: call(*args, **kwargs))

    def check(self) -> None:
        """By the caller's own thread: whether the store answers is asked apart from those who need it."""
        self._store.check()

    def in_bucket(self, bucket: str) -> ObjectStore:
        return guarded(self._store.in_bucket(bucket), self._bulkhead)

    def create_multipart(self, key: str, *, content_type: str = OCTETS) -> str:
        return self._bulkhead.call(
            lambda: self._store.create_multipart(key, content_type=content_type),
            undo=lambda upload_id: self._store.abort_multipart(key, upload_id),
        )

    def upload_part(self, key: str, upload_id: str, number: int, body: bytes) -> Part:
        with self._bulkhead.breaker.watching():
            return self._store.upload_part(key, upload_id, number, body)

    def stream(self, key: str, *, start: int = 0, num_bytes: int | None = None) -> Iterator[bytes]:
        return self._by_pages(self._store.stream(key, start=start, num_bytes=num_bytes), page=1)

    def list_prefix(self, prefix: str) -> Iterator[StoredObject]:
        return self._by_pages(self._store.list_prefix(prefix), page=_PAGE)

    def _by_pages(self, items: Iterator[Item], *, page: int) -> Iterator[Item]:
        """The same items, fetched `page` at a time; the first page now, so that its errors come now."""

        def fetch() -> list[Item]:
            return self._bulkhead.call(lambda: list(islice(items, page)))

        first = fetch()
        return chain(first, chain.from_iterable(iter(fetch, []))) if first else iter(())
