"""Walks the headers of one uncompressed tar file.

Reads ustar, GNU (long names, base-256 numbers) and pax (path, size). The bytes are hostile: every number is
bounded by the file, every name and header block by a cap, and nothing is ever written to disk. Differs
from `tarfile` in that: sizes and names are checked before anything is allocated, a damaged or cut header
refuses the shard instead of ending it quietly, and 200,000 headers take under two seconds.

Headers that say more of the member behind them: GNU's long names, pax records.

Programs differ in which of two such headers wins, in what they do with a malformed one, and in whom a global
one concerns: tarfile, GNU tar and streaming loaders would see other names or other contents than we do. So
anything but one plain header for one member is refused.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from cleanclip.vocabulary.errors import DatasetRejected
from cleanclip.vocabulary.sample_files import MAX_TAR_MEMBERS
from sanitizer.data.tar_headers import (
    EXTENSIONS,
    LINKS,
    REGULAR,
    ambiguous_shard,
    compressed_shard,
    not_a_shard,
    short_name,
    size_of,
)

BLOCK = 512
END_BYTES = 2 * BLOCK
"""Zeros that end an archive; a writer that was stopped, and a copy that was cut, leave none."""
_CHUNK_BYTES = 1 << 20

_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")  # gzip, bzip2, xz, zstd


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
    if head.startswith(_COMPRESSED):
        raise compressed_shard(shard)
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


MAX_NAME_BYTES = 4096
MAX_PAX_BYTES = 65_536
_BLOCK = 512
_MAX_OCTAL_SIZE = 8**11 - 1
"""In a header; a larger one is in a pax record, or in base 256."""
_DECIDES = frozenset({b"path", b"size", b"linkpath"})
"""Records that change which member is read, or where it ends."""
_TIME, _ID = re.compile(rb"-?[0-9]{1,18}(\.[0-9]*)?"), re.compile(rb"[0-9]{1,18}")
_NUMBERS = {b"atime": _TIME, b"ctime": _TIME, b"mtime": _TIME, b"uid": _ID, b"gid": _ID, b"size": _ID}
_TEXTS = frozenset({b"path", b"linkpath", b"uname", b"gname", b"comment", b"charset"})
_OF_NO_EFFECT = re.compile(
    rb"(SCHILY\.(xattr|acl)|LIBARCHIVE\.xattr|RHT\.security)\..+"
    rb"|SCHILY\.(dev|ino|nlink|fflags)|LIBARCHIVE\.creationtime"
)
"""What some programs say of a file beside its bytes. Sparse files and volumes are not among them."""


class Extensions:
    """What the headers since the last member say of the next one."""

    def __init__(self, descriptor: int, shard: str) -> None:
        self._descriptor = descriptor
        self._shard = shard
        self._kinds: set[bytes] = set()
        self._long_name: bytes | None = None
        self._pax: dict[bytes, bytes] = {}

    def take(self, kind: bytes, offset: int, size: int) -> None:
        """Read one header, of a kind of `EXTENSIONS`.

        Raises DatasetRejected 'ambiguous_shard', 'not_a_shard'.
        """
        if kind in self._kinds:
            raise self._ambiguous(offset, "it is the second for one member")
        if kind == b"g" and self._kinds:
            raise self._ambiguous(offset, "it is between another extension and its member")
        if kind != b"g":
            self._kinds.add(kind)
        if b"x" in self._kinds and len(self._kinds) > 1:
            raise self._ambiguous(offset, "one member has a GNU name and a pax header")
        if kind in {b"L", b"K"}:
            name = self._small(offset, size, MAX_NAME_BYTES)
            if kind == b"L":
                self._long_name = self._checked_name(name, offset)
            return
        records = self._records(self._small(offset, size, MAX_PAX_BYTES), offset)
        if kind == b"x":
            self._pax = records
        elif _DECIDES & records.keys():
            raise self._ambiguous(offset, "it names or measures all members that follow")

    def give(self, offset: int, kind: bytes, size: int) -> tuple[bytes | None, int]:
        """(name, size) of the member whose header, at `offset`, says `kind` and `size`, and forget them."""
        name = self._pax.get(b"path", self._long_name)
        if name is not None and (not name or (kind in REGULAR and name.endswith(b"/"))):
            raise self._ambiguous(offset, "its name is empty or ends in a slash")
        if kind not in LINKS and (b"K" in self._kinds or b"linkpath" in self._pax):
            raise self._ambiguous(offset, "it gives a link target to a member that is not a link")
        large = int(self._pax.get(b"size", b"%d" % size))
        if large != size and (kind not in REGULAR or size or large <= _MAX_OCTAL_SIZE):
            raise self._ambiguous(offset, "it gives a member another size than the member's own header")
        self._kinds, self._long_name, self._pax = set(), None, {}
        return name, large

    def check_none_waits(self, offset: int) -> None:
        """At the end of the archive. Raises DatasetRejected 'ambiguous_shard'."""
        if self._kinds:
            raise self._ambiguous(offset, "no member follows it")

    def _checked_name(self, raw: bytes, offset: int) -> bytes:
        name, _, rest = raw.partition(b"\0")
        if rest.strip(b"\0"):
            raise self._ambiguous(offset, "it continues after the end of the name")
        return name

    def _records(self, data: bytes, offset: int) -> dict[bytes, bytes]:
        """`length key=value\\n`, one after the other, to the end."""
        records: dict[bytes, bytes] = {}
        position = 0
        while position < len(data):
            digits, space, _ = data[position : position + 20].partition(b" ")
            length = int(digits) if digits.isdigit() else 0
            record = data[position + len(digits) + 1 : position + length]
            key, equals, value = record.partition(b"=")
            if not (space and equals and key and len(digits) + 1 + len(record) == length):
                raise self._ambiguous(offset, "a record in it is malformed")
            if not record.endswith(b"\n") or key in records:
                raise self._ambiguous(offset, "a record in it does not end, or is there twice")
            records[key] = self._checked_value(key, value[:-1], offset)
            position += length
        return records

    def _checked_value(self, key: bytes, value: bytes, offset: int) -> bytes:
        if key in _NUMBERS:
            if not _NUMBERS[key].fullmatch(value):
                raise not_a_shard(self._shard, offset)
        elif key in _TEXTS:
            if b"\0" in value:
                raise self._ambiguous(offset, "a text in it continues after its end")
        elif not _OF_NO_EFFECT.fullmatch(key):
            raise self._ambiguous(offset, "it has a record that few programs know")
        return value

    def _small(self, offset: int, size: int, limit: int) -> bytes:
        if size > limit:
            raise not_a_shard(self._shard, offset)
        data = os.pread(self._descriptor, -(-size // _BLOCK) * _BLOCK, offset)
        if data[size:].strip(b"\0"):  # tarfile reads on there
            raise self._ambiguous(offset, "it continues after its end")
        return data[:size]

    def _ambiguous(self, offset: int, why: str) -> DatasetRejected:
        return ambiguous_shard(
            self._shard, offset, f"has an extended header that programs read in different ways: {why}"
        )
