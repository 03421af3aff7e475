"""Headers that say more of the member behind them: GNU's long names, pax records.

Programs differ in which of two such headers wins, in what they do with a malformed one, and in whom a global
one concerns: tarfile, GNU tar and streaming loaders would see other names or other contents than we do. So
anything but one plain header for one member is refused.
"""

from __future__ import annotations

import os

from sanitizer.errors import DatasetRejected

MAX_NAME_BYTES = 4096
MAX_PAX_BYTES = 65_536
KINDS = frozenset({b"L", b"K", b"x", b"g", b"X"})
_DECIDES = (b"path", b"size", b"linkpath", b"hdrcharset")
"""Records that change what is read, apart from GNU.sparse.*."""


class Extensions:
    """What the headers since the last member say of the next one."""

    def __init__(self, descriptor: int, shard: str) -> None:
        self._descriptor = descriptor
        self._shard = shard
        self._kinds: set[bytes] = set()
        self._long_name: bytes | None = None
        self._pax: dict[bytes, bytes] = {}

    def take(self, kind: bytes, offset: int, size: int) -> None:
        """Read one header of a kind of `KINDS`. Raises DatasetRejected 'ambiguous_shard', 'not_a_shard'."""
        if kind == b"X":
            raise self._ambiguous(offset, "it is of Solaris' own kind")
        if kind in self._kinds:
            raise self._ambiguous(offset, "it is the second for one member")
        if kind != b"g":
            self._kinds.add(kind)
        if {b"L", b"x"} <= self._kinds:
            raise self._ambiguous(offset, "one member has a GNU name and a pax header")
        if kind in {b"L", b"K"}:
            name = self._small(offset, size, MAX_NAME_BYTES)
            if kind == b"L":
                self._long_name = self._checked_name(name, offset)
            return
        records = self._records(self._small(offset, size, MAX_PAX_BYTES), offset)
        if kind == b"x":
            self._pax = records
        elif any(key in records for key in _DECIDES):
            raise self._ambiguous(offset, "it names or measures all members that follow")

    def give(self, offset: int, *, is_file: bool) -> tuple[bytes | None, bytes | None]:
        """(name, size in decimal digits) of the member whose header is at `offset`, and forget them."""
        name, size = self._pax.get(b"path", self._long_name), self._pax.get(b"size")
        if name is not None and (not name or (is_file and name.endswith(b"/"))):
            raise self._ambiguous(offset, "its name is empty or ends in a slash")
        self._kinds, self._long_name, self._pax = set(), None, {}
        return name, size

    def check_none_waits(self, offset: int) -> None:
        """At the end of the archive. Raises DatasetRejected 'ambiguous_shard'."""
        if self._kinds:
            raise self._ambiguous(offset, "no member follows it")

    def _checked_name(self, raw: bytes, offset: int) -> bytes:
        name, _, rest = raw.partition(b"\0")
        if rest.strip(b"\0"):
            raise self._ambiguous(offset, "it goes on behind the end of the name")
        return name

    def _records(self, data: bytes, offset: int) -> dict[bytes, bytes]:
        """`length key=value\\n`, one after the other, to the end or to zeros."""
        records: dict[bytes, bytes] = {}
        position = 0
        end = len(data.rstrip(b"\0"))
        while position < end:
            digits, space, _ = data[position : position + 20].partition(b" ")
            length = int(digits) if digits.isdigit() else 0
            record = data[position + len(digits) + 1 : position + length]
            key, equals, value = record.partition(b"=")
            if not (space and equals and key and len(digits) + 1 + len(record) == length):
                raise self._ambiguous(offset, "a record in it is malformed")
            if not record.endswith(b"\n") or key in records:
                raise self._ambiguous(offset, "a record in it does not end, or is there twice")
            if key.startswith(b"GNU.sparse."):
                raise self._ambiguous(offset, "it describes a sparse file")
            records[key] = value[:-1]
            position += length
        return records

    def _small(self, offset: int, size: int, limit: int) -> bytes:
        if size > limit:
            raise DatasetRejected(
                "not_a_shard",
                f"{self._shard} is damaged: a header of {size} bytes (at byte {offset}).",
                "Give plain .tar files in the WebDataset layout, key.jpg and key.txt side by side.",
                where=self._shard,
            )
        return os.pread(self._descriptor, size, offset)

    def _ambiguous(self, offset: int, why: str) -> DatasetRejected:
        return ambiguous(
            self._shard, offset, f"has an extended header that programs read in different ways: {why}"
        )


def ambiguous(shard: str, offset: int, what: str) -> DatasetRejected:
    """'ambiguous_shard'; `what` continues the sentence that begins with the shard's name."""
    return DatasetRejected(
        "ambiguous_shard",
        f"The shard {shard} {what} (near byte {offset}).",
        "Write it again with GNU tar, Python's tarfile or webdataset, from plain files with plain names.",
        where=shard,
    )
