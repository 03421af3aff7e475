"""`S3Store`: the object store over the S3 protocol (boto3). Tried on SeaweedFS, without a vendor's own.

Two clients: one for what we do, one that only signs URLs, because clients may reach the store by another
address than we do.

From S3's shapes to ours: listed objects and parts, entity tags, the header that makes a browser save.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from boto3.s3.transfer import TransferConfig

from app.domain.object_keys import FOLDERS
from app.settings import StorageSettings
from app.storage import errors
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
from app.storage.s3_client import make_client, translated

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_s3.type_defs import ObjectTypeDef, PartTypeDef


def attachment(filename: str) -> str:
    """A Content-Disposition that makes a browser save, not show; any file name, quoted (RFC 6266)."""
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "._- ") else "_" for c in filename)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"


def bare_etag(etag: str) -> str:
    """Without the quotes in which HTTP carries it."""
    return etag.strip('"')


def stored_object(item: ObjectTypeDef) -> StoredObject:
    """One line of a listing."""
    return StoredObject(key=item["Key"], size_bytes=item["Size"], etag=bare_etag(item["ETag"]))


def newest_of_each(listed: Sequence[PartTypeDef]) -> list[Part]:
    """By number, each once: SeaweedFS lists a part that was sent again twice; the newer one counts.

    Its clock has seconds: of two versions within one second either may be taken. Where their bytes differ,
    the digest of the whole file, held against the bytes at inspection, tells.
    """
    newest: dict[int, PartTypeDef] = {}
    for part in listed:
        number = part["PartNumber"]
        if number not in newest or part["LastModified"] >= newest[number]["LastModified"]:
            newest[number] = part
    return [
        Part(number=number, etag=bare_etag(part["ETag"]), size_bytes=part["Size"])
        for number, part in sorted(newest.items())
    ]


CHUNK_BYTES = 1024 * 1024
_CHECKED_PREFIX = f"{FOLDERS[0]}/"
_MAX_BROKEN_READS = 5  # in a row, of less than a chunk each
_DELETE_BATCH = 1000
_VERSIONS: tuple[Literal["Versions", "DeleteMarkers"], ...] = ("Versions", "DeleteMarkers")
_TRANSFER = TransferConfig(
    multipart_threshold=64 * 1024 * 1024, multipart_chunksize=32 * 1024 * 1024, max_concurrency=4
)


class S3Store:
    """One bucket of an S3 server; implements `ObjectStore`."""

    def __init__(
        self,
        settings: StorageSettings,
        *,
        bucket: str | None = None,
        client: S3Client | None = None,
        signer: S3Client | None = None,
    ) -> None:
        self._settings = settings
        self._bucket = bucket or settings.bucket
        self._client = client or make_client(settings, endpoint_url=settings.endpoint_url)
        if signer is None:
            public = settings.public_endpoint_url
            signer = make_client(settings, endpoint_url=public) if public else self._client
        self._signer = signer

    @property
    def bucket(self) -> str:
        return self._bucket

    def in_bucket(self, bucket: str) -> S3Store:
        return S3Store(self._settings, bucket=bucket, client=self._client, signer=self._signer)

    def check(self) -> None:
        with translated(self._bucket):  # not HeadBucket: that takes rights to the whole bucket
            self._client.list_objects_v2(Bucket=self._bucket, Prefix=_CHECKED_PREFIX, MaxKeys=1)

    def ensure_bucket(self) -> None:
        try:
            self.check()
        except errors.BucketNotFound:
            with translated(self._bucket):
                self._client.create_bucket(Bucket=self._bucket)

    def set_policy(self, policy: str) -> None:
        """Replace the bucket's policy by this JSON text."""
        with translated(self._bucket):
            self._client.put_bucket_policy(Bucket=self._bucket, Policy=policy)

    # -- multipart uploads

    def create_multipart(self, key: str, *, content_type: str = OCTETS) -> str:
        with translated(key):
            answer = self._client.create_multipart_upload(
                Bucket=self._bucket, Key=checked_key(key), ContentType=content_type
            )
        return answer["UploadId"]

    def presign_part(self, key: str, upload_id: str, number: int, *, size_bytes: int, expires_s: int) -> str:
        return self._signer.generate_presigned_url(
            "upload_part",
            Params={
                "Bucket": self._bucket,
                "Key": checked_key(key),
                "UploadId": upload_id,
                "PartNumber": number,
                "ContentLength": size_bytes,
            },
            ExpiresIn=checked_expiry(expires_s, MAX_PART_URL_S),
        )

    def upload_part(self, key: str, upload_id: str, number: int, body: bytes) -> Part:
        with translated(key):
            answer = self._client.upload_part(
                Bucket=self._bucket, Key=checked_key(key), UploadId=upload_id, PartNumber=number, Body=body
            )
        return Part(number=number, etag=bare_etag(answer["ETag"]), size_bytes=len(body))

    def list_parts(self, key: str, upload_id: str) -> list[Part]:
        with translated(key):
            pages = self._client.get_paginator("list_parts").paginate(
                Bucket=self._bucket, Key=checked_key(key), UploadId=upload_id
            )
            listed = [part for page in pages for part in page.get("Parts", ())]
        return newest_of_each(listed)

    def complete_multipart(
        self, key: str, upload_id: str, parts: Sequence[Part], *, size_bytes: int
    ) -> StoredObject:
        check_parts(key, parts, size_bytes)
        with translated(key):
            self._client.complete_multipart_upload(
                Bucket=self._bucket,
                Key=checked_key(key),
                UploadId=upload_id,
                MultipartUpload={"Parts": [{"PartNumber": p.number, "ETag": p.etag} for p in parts]},
                MpuObjectSize=size_bytes,
                IfNoneMatch="*",
            )
        return self.head(key)

    def abort_multipart(self, key: str, upload_id: str) -> None:
        try:
            with translated(key):
                self._client.abort_multipart_upload(
                    Bucket=self._bucket, Key=checked_key(key), UploadId=upload_id
                )
        except (errors.UploadNotFound, errors.ObjectNotFound):
            return

    # -- whole objects

    def put_bytes(
        self, key: str, body: bytes, *, content_type: str = OCTETS, only_if_absent: bool = False
    ) -> StoredObject:
        condition: dict[str, Any] = {"IfNoneMatch": "*"} if only_if_absent else {}
        with translated(key):
            self._client.put_object(
                Bucket=self._bucket, Key=checked_key(key), Body=body, ContentType=content_type, **condition
            )
        return self.head(key)

    def put_file(self, key: str, path: Path, *, content_type: str = OCTETS) -> StoredObject:
        expected_bytes = path.stat().st_size
        with translated(key):
            self._client.upload_file(
                Filename=str(path),
                Bucket=self._bucket,
                Key=checked_key(key),
                ExtraArgs={"ContentType": content_type},
                Config=_TRANSFER,
            )
        stored = self.head(key)
        if stored.size_bytes != expected_bytes:
            raise errors.SizeMismatch(
                f"{key}: {expected_bytes} bytes were sent, {stored.size_bytes} are stored",
                expected_bytes=expected_bytes,
                stored_bytes=stored.size_bytes,
            )
        return stored

    def read_bytes(self, key: str, *, max_bytes: int) -> bytes:
        body = bytearray()
        with closing(self._chunks(key, start=0, end=None, etag=None)) as chunks:
            for chunk in chunks:
                body += chunk
                if len(body) > max_bytes:
                    size_bytes = self.head(key).size_bytes
                    raise errors.SizeMismatch(
                        f"{key}: {size_bytes} bytes, at most {max_bytes} were expected",
                        expected_bytes=max_bytes,
                        stored_bytes=size_bytes,
                    )
        return bytes(body)

    def stream(self, key: str, *, start: int = 0, num_bytes: int | None = None) -> Iterator[bytes]:
        if num_bytes is not None and num_bytes <= 0:
            return
        end = None if num_bytes is None else start + num_bytes - 1
        if start >= self.head(key).size_bytes:
            return
        with closing(self._chunks(key, start=start, end=end, etag=None)) as chunks:
            yield from chunks

    def download_to(self, key: str, path: Path) -> Download:
        stored = self.head(key)
        partial = path.with_name(path.name + ".partial")
        try:
            with partial.open("wb") as target:
                sha256 = self._download(stored, target)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        return Download(size_bytes=stored.size_bytes, sha256=sha256)

    def head(self, key: str) -> StoredObject:
        with translated(key):
            answer = self._client.head_object(Bucket=self._bucket, Key=checked_key(key))
        return StoredObject(key=key, size_bytes=answer["ContentLength"], etag=bare_etag(answer["ETag"]))

    def list_prefix(self, prefix: str) -> Iterator[StoredObject]:
        pages = iter(
            self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
        )
        while True:
            with translated(f"{self._bucket}/{prefix}"):
                page = next(pages, None)
            if page is None:
                return
            for item in page.get("Contents", ()):
                yield stored_object(item)

    def delete(self, key: str) -> None:
        with translated(key):
            self._client.delete_object(Bucket=self._bucket, Key=checked_key(key))

    def delete_prefix(self, prefix: str) -> int:
        return self._delete_all([item.key for item in self.list_prefix(checked_prefix(prefix))], prefix)

    def _delete_all(self, keys: Sequence[str], prefix: str) -> int:
        for first in range(0, len(keys), _DELETE_BATCH):
            batch = keys[first : first + _DELETE_BATCH]
            with translated(prefix):
                answer = self._client.delete_objects(
                    Bucket=self._bucket, Delete={"Objects": [{"Key": key} for key in batch], "Quiet": True}
                )
            failed = [error.get("Key", "?") for error in answer.get("Errors", ())]
            if failed:
                raise errors.StorageError(f"{prefix}: {len(failed)} objects stay, the first is {failed[0]}")
        return len(keys)

    def list_unfinished(self, place: str) -> list[tuple[str, str]]:
        with translated(place):
            pages = self._client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self._bucket, Prefix=place
            )
            found = [
                (upload["Key"], upload["UploadId"]) for page in pages for upload in page.get("Uploads", ())
            ]
        return [(key, upload_id) for key, upload_id in found if place.endswith("/") or key == place]

    def purge(self, place: str, *, max_objects: int | None = None) -> bool:
        folder = place.removesuffix("/")
        checked_key(folder)
        for key, upload_id in self.list_unfinished(place):  # first: none is completed behind our back
            self.abort_multipart(key, upload_id)
        if place == folder:
            self.delete(place)
        else:
            keys = [item.key for item in islice(self.list_prefix(place), max_objects)]
            self._delete_all(keys, place)
            if max_objects is not None and len(keys) >= max_objects:
                return False
        self._delete_versions(place)
        return True

    def _delete_versions(self, place: str) -> None:
        """What a bucket with versioning keeps of objects that were deleted, and the marks of that."""
        with translated(place):
            pages = self._client.get_paginator("list_object_versions").paginate(
                Bucket=self._bucket, Prefix=place
            )
            found = [item for page in pages for kind in _VERSIONS for item in page.get(kind, ())]
        for item in found:
            with translated(item["Key"]):
                self._client.delete_object(Bucket=self._bucket, Key=item["Key"], VersionId=item["VersionId"])

    def presign_get(self, key: str, *, expires_s: int, filename: str, content_type: str = OCTETS) -> str:
        return self._signer.generate_presigned_url(
            "get_object",
            Params={
                "Bucket": self._bucket,
                "Key": checked_key(key),
                "ResponseContentDisposition": attachment(filename),
                "ResponseContentType": content_type,
            },
            ExpiresIn=checked_expiry(expires_s, MAX_DOWNLOAD_URL_S),
        )

    # -- reading

    def _chunks(self, key: str, *, start: int, end: int | None, etag: str | None) -> Generator[bytes]:
        """Bytes start..end (inclusive) of the object, of version `etag` if given, over one connection."""
        conditions: dict[str, Any] = {}
        if start or end is not None:
            conditions["Range"] = f"bytes={start}-{'' if end is None else end}"
        if etag is not None:
            conditions["IfMatch"] = etag
        with translated(key):
            answer = self._client.get_object(Bucket=self._bucket, Key=checked_key(key), **conditions)
            with closing(answer["Body"]) as body:
                yield from body.iter_chunks(CHUNK_BYTES)

    def _download(self, stored: StoredObject, target: IO[bytes]) -> str:
        digest = hashlib.sha256()
        done = broken = 0
        while done < stored.size_bytes:
            start = done
            try:
                for chunk in self._chunks(stored.key, start=start, end=None, etag=stored.etag):
                    target.write(chunk)
                    digest.update(chunk)
                    done += len(chunk)
            except errors.StoreUnavailable:
                broken = 1 if done - start >= CHUNK_BYTES else broken + 1
                if broken == _MAX_BROKEN_READS:
                    raise
        if done != stored.size_bytes:
            raise errors.PreconditionFailed(f"{stored.key}: the object changed while it was read")
        return digest.hexdigest()
