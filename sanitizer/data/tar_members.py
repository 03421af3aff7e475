"""Walks the headers of one uncompressed tar file. Knows no samples, and extracts nothing.

Reads ustar, GNU (long names, base-256 numbers) and pax (path, size). The bytes are hostile: every number is
bounded by the file, every name and header block by a cap, and nothing is ever written to disk. Differs
from `tarfile` in that: sizes and names are checked before anything is allocated, a damaged or cut header
refuses the shard instead of ending it quietly, and 200,000 headers take under two seconds.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from cleanclip.spec.errors import DatasetRejected
from cleanclip.spec.sample_files import MAX_TAR_MEMBERS
from sanitizer.data.tar_extensions import Extensions
from sanitizer.data.tar_headers import EXTENSIONS, REGULAR, not_a_shard, short_name, size_of

BLOCK = 512
END_BYTES = 2 * BLOCK
"""Zeros that end an archive; a writer that was stopped, and a copy that was cut, leave none."""
_CHUNK_BYTES = 1 << 20

_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}


@dataclass(frozen=True, slots=True)
class Member:
    """One archive member. `name` is as stored (surrogate escapes mark bytes that are not UTF-8)."""

    name: str
    kind: Literal["file", "folder", "other"]
    offset: int
    size_bytes: int


def walk(descriptor: int, *, shard: str) -> Iterator[Member]:
    """Yield the members of the tar file open at `descriptor`, in order.

    Raises DatasetRejected: `compressed_shard`, `not_a_shard`, `truncated_shard`, `too_many_members`,
    `data_after_end`, `ambiguous_shard`.
    """
    total = os.fstat(descriptor).st_size
    _refuse_other_formats(os.pread(descriptor, 262, 0), shard)
    position, num_members = 0, 0
    extensions = Extensions(descriptor, shard)
    while position < total:
        header = os.pread(descriptor, BLOCK, position)
        if len(header) < BLOCK:
            raise _truncated(shard, position)
        if not header.strip(b"\0"):
            _check_nothing_follows(descriptor, position, shard)
            extensions.check_none_waits(position)
            if total - position < END_BYTES:
                raise _without_end(shard, num_members)
            return
        num_members += 1
        if num_members > MAX_TAR_MEMBERS:
            raise DatasetRejected(
                "too_many_members",
                f"The shard {shard} has more than {MAX_TAR_MEMBERS} members.",
                "Split it into smaller shards.",
                where=shard,
            )
        size = size_of(header, shard, position)
        kind = header[156:157]
        data_at = position + BLOCK
        if kind in EXTENSIONS:
            position = _after(data_at, size, total, shard)
            extensions.take(kind, data_at, size)
            continue
        given_name, size = extensions.give(position, kind, size)
        raw_name = short_name(header) if given_name is None else given_name
        is_file = kind in REGULAR and not raw_name.endswith(b"/")
        position = _after(data_at, size, total, shard)
        yield Member(
            raw_name.decode("utf-8", "surrogateescape"),
            "file" if is_file else "folder" if kind == b"5" or raw_name.endswith(b"/") else "other",
            data_at,
            size,
        )
    extensions.check_none_waits(position)
    raise _without_end(shard, num_members)


def _refuse_other_formats(head: bytes, shard: str) -> None:
    for magic, name in _COMPRESSED.items():
        if head.startswith(magic):
            raise DatasetRejected(
                "compressed_shard",
                f"The shard {shard} is compressed ({name}); samples could not be read at random from it.",
                "Decompress it and give the plain .tar; images inside are compressed already.",
                where=shard,
            )
    if len(head) < 262:
        raise not_a_shard(shard, 0)


def _check_nothing_follows(descriptor: int, position: int, shard: str) -> None:
    """Programs disagree on whether that is read: two readers would see two datasets."""
    while chunk := os.pread(descriptor, _CHUNK_BYTES, position):
        if chunk.strip(b"\0"):
            raise DatasetRejected(
                "data_after_end",
                f"The shard {shard} continues after its end (near byte {position}).",
                "Join archives with tar --concatenate, not by appending one file to another.",
                where=shard,
            )
        position += len(chunk)


def _after(data_at: int, size: int, total: int, shard: str) -> int:
    """Where the next header starts. Raises if the data does not fit into the file."""
    if data_at + size > total:
        raise _truncated(shard, data_at)
    return data_at + -(-size // BLOCK) * BLOCK


def _without_end(shard: str, num_members: int) -> DatasetRejected:
    return DatasetRejected(
        "truncated_shard",
        f"The shard {shard} has no end mark: it stops after {num_members} members, and more may be missing.",
        "Upload the whole file again. If the program that wrote it was interrupted, write it "
        "again and close the archive.",
        where=shard,
    )


def _truncated(shard: str, position: int) -> DatasetRejected:
    return DatasetRejected(
        "truncated_shard",
        f"The shard {shard} ends in the middle of a member (at byte {position}).",
        "Upload the whole file again.",
        where=shard,
    )
