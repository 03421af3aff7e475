"""`ObjectStore`: what the service needs of an object store, in plain nouns. One bucket, keys, bytes.

Implementations: `app.storage.s3.S3Store`, and a fake in the tests that passes the same suite. Keys are made
by the server (`app.domain`), never taken from a user; `checked_key` is the last wall behind that rule.
Errors: app.storage.errors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from app.storage.errors import PartsRefused, SizeMismatch

OCTETS = "application/octet-stream"
MAX_KEY_BYTES = 900
MAX_DOWNLOAD_URL_S = 300
MAX_PART_URL_S = 900


@dataclass(frozen=True, kw_only=True)
class Part:
    """One stored part of a multipart upload. `number` counts from 1."""

    number: int
    etag: str
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class StoredObject:
    """What the store says of one object. `etag` is an opaque version mark, never a content digest."""

    key: str
    size_bytes: int
    etag: str


@dataclass(frozen=True, kw_only=True)
class Download:
    """A finished download: how much, and the SHA-256 of the bytes that reached the disk."""

    size_bytes: int
    sha256: str


class ObjectStore(Protocol):
    """One bucket. Safe to share between threads."""

    @property
    def bucket(self) -> str: ...

    def in_bucket(self, bucket: str) -> ObjectStore:
        """The same store and credentials, another bucket (datasets given by `s3://` reference)."""

    def check(self) -> None:
        """Raise unless the store answers and the bucket is there."""

    def ensure_bucket(self) -> None:
        """Create the bucket unless it exists. For operators and tests; the service itself never does."""

    # -- multipart uploads

    def create_multipart(self, key: str, *, content_type: str = OCTETS) -> str:
        """Begin an upload; returns its id."""

    def presign_part(self, key: str, upload_id: str, number: int, *, size_bytes: int, expires_s: int) -> str:
        """A URL that accepts a PUT of this one part with exactly `size_bytes`, for at most MAX_PART_URL_S
        seconds. The length is signed: the store refuses another."""

    def upload_part(self, key: str, upload_id: str, number: int, body: bytes) -> Part:
        """Store one part that lies in memory; the same number again replaces it."""

    def list_parts(self, key: str, upload_id: str) -> list[Part]:
        """The stored parts by number, each number once (its newest). Raises UploadNotFound."""

    def complete_multipart(
        self, key: str, upload_id: str, parts: Sequence[Part], *, size_bytes: int
    ) -> StoredObject:
        """Make the object. Raises SizeMismatch, PartsRefused, UploadNotFound; PreconditionFailed if the key
        is taken."""

    def abort_multipart(self, key: str, upload_id: str) -> None:
        """Forget an upload and its parts; one that does not exist is fine."""

    # -- whole objects

    def put_bytes(
        self, key: str, body: bytes, *, content_type: str = OCTETS, only_if_absent: bool = False
    ) -> StoredObject:
        """Store a small object. With `only_if_absent` raises PreconditionFailed when the key is taken."""

    def put_file(self, key: str, path: Path, *, content_type: str = OCTETS) -> StoredObject:
        """Store a file of any size, in parts where that is needed."""

    def read_bytes(self, key: str, *, max_bytes: int) -> bytes:
        """A small object whole. Raises SizeMismatch if it is larger than `max_bytes`."""

    def stream(self, key: str, *, start: int = 0, num_bytes: int | None = None) -> Iterator[bytes]:
        """Chunks from byte `start` on; close the iterator to stop early. An empty range yields nothing."""

    def download_to(self, key: str, path: Path) -> Download:
        """Write the object to `path` (by rename, so never half), hashing on the way; goes on where a
        connection broke. Raises PreconditionFailed if the object changed meanwhile."""

    def head(self, key: str) -> StoredObject:
        """Raises ObjectNotFound."""

    def list_prefix(self, prefix: str) -> Iterator[StoredObject]:
        """Every object whose key starts with `prefix`, by key, page by page."""

    def delete(self, key: str) -> None:
        """Remove an object; one that does not exist is fine."""

    def delete_prefix(self, prefix: str) -> int:
        """Remove every object under a prefix that ends with a slash; how many there were."""

    def list_unfinished(self, place: str) -> list[tuple[str, str]]:
        """Key and upload id of every unfinished multipart upload under a folder (`…/`) or of one key."""

    def purge(self, place: str, *, max_objects: int | None = None) -> bool:
        """Leave nothing under a folder (`…/`) or of one key: objects, old versions, unfinished uploads.

        With `max_objects` it stops after so many: False, call it again for the rest.
        """

    def presign_get(self, key: str, *, expires_s: int, filename: str, content_type: str = OCTETS) -> str:
        """A URL that serves one object as an attachment, for at most MAX_DOWNLOAD_URL_S seconds."""


def checked_key(key: str) -> str:
    """The key itself, if it can mean only one place in every store. Raises ValueError: a bug of ours."""
    segments = key.split("/")
    if not key or len(key.encode()) > MAX_KEY_BYTES or any(part in ("", ".", "..") for part in segments):
        raise ValueError(f"not an object key of ours: {key[:80]!r}")
    if not key.isprintable() or "\\" in key:
        raise ValueError(f"not an object key of ours: {key[:80]!r}")
    return key


def checked_prefix(prefix: str) -> str:
    """A prefix that names a folder: `a/b/`. Raises ValueError, above all for the whole bucket."""
    if not prefix.endswith("/"):
        raise ValueError(f"a prefix to delete ends with a slash: {prefix[:80]!r}")
    checked_key(prefix[:-1])
    return prefix


def checked_expiry(expires_s: int, most_s: int) -> int:
    """The expiry of a presigned URL in seconds, 1..most_s. Raises ValueError."""
    if not 1 <= expires_s <= most_s:
        raise ValueError(f"a presigned URL lives 1 to {most_s} s, not {expires_s}")
    return expires_s


def check_parts(key: str, parts: Sequence[Part], size_bytes: int) -> None:
    """Raises PartsRefused unless numbered 1..n, SizeMismatch unless they hold `size_bytes` together."""
    if not parts or [part.number for part in parts] != list(range(1, len(parts) + 1)):
        raise PartsRefused(f"{key}: the stored parts are not numbered 1 to n without a gap")
    stored_bytes = sum(part.size_bytes for part in parts)
    if stored_bytes != size_bytes:
        raise SizeMismatch(
            f"{key}: {size_bytes} bytes were declared, {stored_bytes} are stored",
            expected_bytes=size_bytes,
            stored_bytes=stored_bytes,
        )
