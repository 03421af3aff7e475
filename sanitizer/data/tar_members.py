"""Walks the headers of one uncompressed tar file. Knows no samples, and extracts nothing.

Reads ustar, GNU (long names, base-256 sizes) and pax (path, size). The bytes are hostile: every number is
bounded by the file, every name and header block by a cap, and nothing is ever written to disk. Differs
from `tarfile` in that: sizes and names are checked before anything is allocated, a damaged or cut header
refuses the shard instead of ending it quietly, and 200,000 headers take about a second.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from sanitizer.data.tar_extensions import KINDS, Extensions, ambiguous
from sanitizer.errors import DatasetRejected

BLOCK = 512
MAX_MEMBERS = 2_000_000
_CHUNK_BYTES = 1 << 20

_REGULAR = (b"0", b"\0", b"7")
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
            break
        num_members += 1
        if num_members > MAX_MEMBERS:
            raise DatasetRejected(
                "too_many_members",
                f"The shard {shard} has more than {MAX_MEMBERS} members.",
                "Split it into smaller shards.",
                where=shard,
            )
        size = _checked_size(header, shard, position)
        kind = header[156:157]
        data_at = position + BLOCK
        if kind in KINDS:
            position = _after(data_at, size, total, shard)
            extensions.take(kind, data_at, size)
            continue
        _refuse_two_readings(header, kind, size, shard, position)
        given_name, given_size = extensions.give(position, is_file=kind in _REGULAR)
        if given_size is not None:
            size = _number(given_size, 10, shard, position)
        raw_name = _short_name(header) if given_name is None else given_name
        is_file = kind in _REGULAR and not raw_name.endswith(b"/")
        has_data = kind in _REGULAR or kind not in b"123456"
        position = _after(data_at, size, total, shard) if has_data else data_at
        yield Member(
            raw_name.decode("utf-8", "surrogateescape"),
            "file" if is_file else "folder" if kind == b"5" or raw_name.endswith(b"/") else "other",
            data_at,
            size,
        )
    extensions.check_none_waits(position)


def _refuse_two_readings(header: bytes, kind: bytes, size: int, shard: str, position: int) -> None:
    """Fields that tarfile, GNU tar and we would not all understand alike."""
    if header[257:263] != b"ustar\0" and header[345:500].strip(b"\0") and kind != b"S":
        raise ambiguous(
            shard, position, "has a member with a second part of its name, in a dialect without any"
        )
    if kind == b"S" and header[482:483] != b"\0":
        raise ambiguous(shard, position, "has a sparse member with more headers behind its own")
    if kind in _REGULAR and header[:100].split(b"\0", 1)[0].endswith(b"/") and (kind != b"\0" or size):
        raise ambiguous(shard, position, "has a file that is named like a folder")


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
        raise _damaged(shard, 0)


def _check_nothing_follows(descriptor: int, position: int, shard: str) -> None:
    """Programs disagree on whether that is read: two readers would see two data sets."""
    while chunk := os.pread(descriptor, _CHUNK_BYTES, position):
        if chunk.strip(b"\0"):
            raise DatasetRejected(
                "data_after_end",
                f"The shard {shard} goes on after its end (near byte {position}).",
                "Put archives together with tar --concatenate, not by appending one file to another.",
                where=shard,
            )
        position += len(chunk)


def _checked_size(header: bytes, shard: str, position: int) -> int:
    """The size field of a header whose checksum holds."""
    stated = _field(header[148:156], shard, position)
    # The checksum counts its own eight bytes as spaces.
    if stated != sum(header) - sum(header[148:156]) + 8 * 0x20:
        raise _damaged(shard, position)
    return _field(header[124:136], shard, position)


def _field(field: bytes, shard: str, position: int) -> int:
    """A number of a header: octal digits, or base 256. In a pax record the latter is no number to anybody."""
    if field[:1] == b"\x80":
        return int.from_bytes(field[1:], "big")
    return _number(field, 8, shard, position)


def _number(field: bytes, base: int, shard: str, position: int) -> int:
    digits = field.split(b"\0", 1)[0].strip()
    if not digits:
        return 0
    if not digits.isdigit() or len(digits) > 24:
        raise _damaged(shard, position)
    try:
        return int(digits, base)
    except ValueError:
        raise _damaged(shard, position) from None


def _short_name(header: bytes) -> bytes:
    name = header[:100].split(b"\0", 1)[0]
    if header[257:263] == b"ustar\0":
        prefix = header[345:500].split(b"\0", 1)[0]
        return prefix + b"/" + name if prefix else name
    return name


def _after(data_at: int, size: int, total: int, shard: str) -> int:
    """Where the next header starts. Raises if the data does not fit into the file."""
    if data_at + size > total:
        raise _truncated(shard, data_at)
    return data_at + -(-size // BLOCK) * BLOCK


def _truncated(shard: str, position: int) -> DatasetRejected:
    return DatasetRejected(
        "truncated_shard",
        f"The shard {shard} ends in the middle of a member (at byte {position}).",
        "Upload the whole file again.",
        where=shard,
    )


def _damaged(shard: str, position: int) -> DatasetRejected:
    return DatasetRejected(
        "not_a_shard",
        f"{shard} is not a tar file, or is damaged (at byte {position}).",
        "Give plain .tar files in the WebDataset layout: for each sample key.jpg and key.txt, side by side.",
        where=shard,
    )
