"""Headers that say more of the member behind them: GNU's long names, pax records.

Programs differ in which of two such headers wins, in what they do with a malformed one, and in whom a global
one concerns: tarfile, GNU tar and streaming loaders would see other names or other contents than we do. So
anything but one plain header for one member is refused.
"""

from __future__ import annotations

import os
import re

from cleanclip.spec.errors import DatasetRejected
from sanitizer.data.tar_headers import LINKS, REGULAR, ambiguous_shard, not_a_shard

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
            raise DatasetRejected(
                "not_a_shard",
                f"{self._shard} is damaged: a header of {size} bytes (at byte {offset}).",
                "Give plain .tar files in the WebDataset layout, key.jpg and key.txt side by side.",
                where=self._shard,
            )
        data = os.pread(self._descriptor, -(-size // _BLOCK) * _BLOCK, offset)
        if data[size:].strip(b"\0"):  # tarfile reads on there
            raise self._ambiguous(offset, "it continues after its end")
        return data[:size]

    def _ambiguous(self, offset: int, why: str) -> DatasetRejected:
        return ambiguous_shard(
            self._shard, offset, f"has an extended header that programs read in different ways: {why}"
        )
