"""From S3's shapes to ours: listed objects and parts, entity tags, the header that makes a browser save."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote

from app.storage.port import Part, StoredObject

if TYPE_CHECKING:
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
    return StoredObject(
        key=item["Key"],
        size_bytes=item["Size"],
        etag=bare_etag(item["ETag"]),
    )


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
