"""An object store in memory: implements `ObjectStore`, passes the same suite as S3Store, signs nothing.

`fail_next` makes the next calls raise, for tests of what happens when the store is away.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from app.storage.errors import (
    BucketNotFound,
    ObjectNotFound,
    PartsRefused,
    PreconditionFailed,
    SizeMismatch,
    StorageError,
    UploadNotFound,
)
from app.storage.port import (
    MAX_DOWNLOAD_URL_S,
    MAX_PART_URL_S,
    OCTETS,
    Download,
    Part,
    StoredObject,
    check_parts,
    checked_expiry,
    checked_key,
    checked_prefix,
)

MIN_PART_BYTES = 5 * 1024 * 1024  # S3's own, for every part but the last


@dataclass
class _Upload:
    key: str
    parts: dict[int, tuple[str, bytes]] = field(default_factory=dict)


@dataclass
class _Server:
    buckets: dict[str, dict[str, tuple[bytes, StoredObject]]] = field(default_factory=dict)
    uploads: dict[str, _Upload] = field(default_factory=dict)
    failures: list[StorageError] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)


class InMemoryObjectStore:
    """Implements `ObjectStore`."""

    def __init__(self, bucket: str = "test", server: _Server | None = None) -> None:
        self._bucket = bucket
        self._server = server or _Server()

    @property
    def bucket(self) -> str:
        return self._bucket

    def fail_next(self, *errors: StorageError) -> None:
        """Raise these, one per call, before doing anything."""
        self._server.failures.extend(errors)

    def in_bucket(self, bucket: str) -> InMemoryObjectStore:
        return InMemoryObjectStore(bucket, self._server)

    def check(self) -> None:
        self._objects()

    def ensure_bucket(self) -> None:
        self._server.buckets.setdefault(self._bucket, {})

    def create_multipart(self, key: str, *, content_type: str = OCTETS) -> str:
        self._objects()
        upload_id = secrets.token_hex(16)
        self._server.uploads[upload_id] = _Upload(checked_key(key))
        return upload_id

    def presign_part(self, key: str, upload_id: str, number: int, *, size_bytes: int, expires_s: int) -> str:
        checked_expiry(expires_s, MAX_PART_URL_S)
        return f"memory://{self._bucket}/{checked_key(key)}?uploadId={upload_id}&partNumber={number}"

    def upload_part(self, key: str, upload_id: str, number: int, body: bytes) -> Part:
        upload = self._upload(key, upload_id)
        etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
        upload.parts[number] = (etag, body)
        return Part(number=number, etag=etag, size_bytes=len(body))

    def list_parts(self, key: str, upload_id: str) -> list[Part]:
        upload = self._upload(key, upload_id)
        return [
            Part(number=number, etag=etag, size_bytes=len(body))
            for number, (etag, body) in sorted(upload.parts.items())
        ]

    def complete_multipart(
        self, key: str, upload_id: str, parts: Sequence[Part], *, size_bytes: int
    ) -> StoredObject:
        check_parts(key, parts, size_bytes)
        with self._server.lock:
            upload = self._upload(key, upload_id)
            bodies = []
            for part in parts:
                etag, body = upload.parts.get(part.number, ("", b""))
                if etag != part.etag:
                    raise PartsRefused(f"{key}: part {part.number} is not the one that is stored")
                bodies.append(body)
            if any(len(body) < MIN_PART_BYTES for body in bodies[:-1]):
                raise PartsRefused(f"{key}: a part before the last is smaller than {MIN_PART_BYTES} bytes")
            stored = self.put_bytes(key, b"".join(bodies), only_if_absent=True)
            del self._server.uploads[upload_id]
        return stored

    def abort_multipart(self, key: str, upload_id: str) -> None:
        self._objects()
        checked_key(key)
        self._server.uploads.pop(upload_id, None)

    def put_bytes(
        self, key: str, body: bytes, *, content_type: str = OCTETS, only_if_absent: bool = False
    ) -> StoredObject:
        with self._server.lock:
            objects = self._objects()
            if only_if_absent and key in objects:
                raise PreconditionFailed(f"{key}: the key is taken")
            stored = StoredObject(
                key=checked_key(key),
                size_bytes=len(body),
                etag=secrets.token_hex(8),
            )
            objects[key] = (bytes(body), stored)
            return stored

    def put_file(self, key: str, path: Path, *, content_type: str = OCTETS) -> StoredObject:
        return self.put_bytes(key, path.read_bytes(), content_type=content_type)

    def read_bytes(self, key: str, *, max_bytes: int) -> bytes:
        body, stored = self._get(key)
        if stored.size_bytes > max_bytes:
            raise SizeMismatch(f"{key}: too large", expected_bytes=max_bytes, stored_bytes=stored.size_bytes)
        return body

    def stream(self, key: str, *, start: int = 0, num_bytes: int | None = None) -> Iterator[bytes]:
        body, _ = self._get(key)
        wanted = body[start:] if num_bytes is None else body[start : start + max(0, num_bytes)]
        for first in range(0, len(wanted), 1024 * 1024):
            yield wanted[first : first + 1024 * 1024]

    def download_to(self, key: str, path: Path) -> Download:
        body, _ = self._get(key)
        path.write_bytes(body)
        return Download(size_bytes=len(body), sha256=hashlib.sha256(body).hexdigest())

    def head(self, key: str) -> StoredObject:
        return self._get(key)[1]

    def list_prefix(self, prefix: str) -> Iterator[StoredObject]:
        yield from [stored for key, (_, stored) in sorted(self._objects().items()) if key.startswith(prefix)]

    def delete(self, key: str) -> None:
        self._objects().pop(checked_key(key), None)

    def delete_prefix(self, prefix: str) -> int:
        keys = [stored.key for stored in self.list_prefix(checked_prefix(prefix))]
        for key in keys:
            self.delete(key)
        return len(keys)

    def list_unfinished(self, place: str) -> list[tuple[str, str]]:
        return [
            (upload.key, upload_id)
            for upload_id, upload in self._server.uploads.items()
            if upload.key == place or (place.endswith("/") and upload.key.startswith(place))
        ]

    def purge(self, place: str, *, max_objects: int | None = None) -> bool:
        checked_key(place.removesuffix("/"))
        for key, upload_id in self.list_unfinished(place):
            self.abort_multipart(key, upload_id)
        found = [stored.key for stored in self.list_prefix(place)][:max_objects]
        for key in found:
            self.delete(key)
        return max_objects is None or not place.endswith("/") or len(found) < max_objects

    def presign_get(self, key: str, *, expires_s: int, filename: str, content_type: str = OCTETS) -> str:
        checked_expiry(expires_s, MAX_DOWNLOAD_URL_S)
        return f"memory://{self._bucket}/{checked_key(key)}?filename={filename}"

    def _objects(self) -> dict[str, tuple[bytes, StoredObject]]:
        if self._server.failures:
            raise self._server.failures.pop(0)
        if self._bucket not in self._server.buckets:
            raise BucketNotFound(self._bucket)
        return self._server.buckets[self._bucket]

    def _get(self, key: str) -> tuple[bytes, StoredObject]:
        try:
            return self._objects()[checked_key(key)]
        except KeyError:
            raise ObjectNotFound(f"{key}: no such object") from None

    def _upload(self, key: str, upload_id: str) -> _Upload:
        self._objects()
        upload = self._server.uploads.get(upload_id)
        if upload is None or upload.key != key:
            raise UploadNotFound(f"{key}: no such upload")
        return upload
