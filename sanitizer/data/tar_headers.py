"""One header block of a tar file: what it says of its member, if every program would read that in it.

Programs differ in what they do with a number that is none, with data behind a type that has none, with rare
types: some end the archive there, some read on elsewhere, and two readers see two archives. So a header has
to be as tarfile, GNU tar, bsdtar and Go write it.
"""

import re
from functools import lru_cache

from cleanclip.vocabulary.errors import DatasetRejected

REGULAR = frozenset({b"0", b"\0", b"7"})
LINKS = frozenset({b"1", b"2"})
WITHOUT_DATA = LINKS | {b"3", b"4", b"5", b"6"}
EXTENSIONS = frozenset({b"L", b"K", b"x", b"g"})
"""Headers of the next member's name and of records: see `tar_extensions`."""
_KNOWN = REGULAR | WITHOUT_DATA | EXTENSIONS
_OCTAL = re.compile(rb" *([0-7]+)[ \0]*")
_OTHER_NUMBERS = (slice(136, 148), *(slice(at, at + 8) for at in (100, 108, 116, 329, 337)))
"""Time, mode, owner, group, device. No use here, but tarfile and Go end an archive at one that is none."""
_MAX_NUMBER = 2**63


def size_of(header: bytes, shard: str, position: int) -> int:
    """The size of the data behind a header that is whole and leaves no doubt.

    Raises DatasetRejected 'not_a_shard', 'ambiguous_shard'.
    """
    stated, size = _number(header[148:156]), _number(header[124:136])
    # The checksum counts its own eight bytes as spaces.
    if size is None or size < 0 or stated != sum(header) - sum(header[148:156]) + 8 * 0x20:
        raise not_a_shard(shard, position)
    if any(_number(header[field]) is None and header[field].strip(b"\0") for field in _OTHER_NUMBERS):
        raise not_a_shard(shard, position)
    doubt = _doubt(header, header[156:157], size)
    if doubt is not None:
        raise ambiguous_shard(shard, position, doubt)
    return size


def short_name(header: bytes) -> bytes:
    """The name in the header itself."""
    name = header[:100].split(b"\0", 1)[0]
    if header[257:263] == b"ustar\0":
        prefix = header[345:500].split(b"\0", 1)[0]
        return prefix + b"/" + name if prefix else name
    return name


@lru_cache(maxsize=4096)
def _number(field: bytes) -> int | None:
    """Octal digits between blanks and, behind them, zeros; or base 256, of which times may be negative."""
    if field[:1] in {b"\x80", b"\xff"}:
        number = int.from_bytes(field[1:], "big") - (field[0] == 0xFF) * 256 ** (len(field) - 1)
        return number if abs(number) < _MAX_NUMBER else None
    match = _OCTAL.fullmatch(field)
    return None if match is None else int(match[1], 8)


def _doubt(header: bytes, kind: bytes, size: int) -> str | None:
    """What programs would not all understand alike, as the rest of a sentence about the shard."""
    if kind not in _KNOWN:
        return f"has a member of a type that few programs know ({kind!r})"
    if size and kind in WITHOUT_DATA:
        return "has a link, folder or device with data after it"
    if header[257:263] != b"ustar\0" and header[345:500].strip(b"\0"):
        return "has a member whose name has a second part, which its tar format does not allow"
    if header[500:].strip(b"\0"):
        return "has a header with data after its last field"
    if kind in REGULAR and short_name(header).endswith(b"/") and (kind != b"\0" or size):
        return "has a file whose name ends like a folder's"
    return None


def not_a_shard(shard: str, position: int) -> DatasetRejected:
    """'not_a_shard'."""
    return DatasetRejected(
        "not_a_shard",
        f"{shard} is not a tar file, or is damaged (at byte {position}).",
        "Give plain .tar files in the WebDataset layout: for each sample key.jpg and key.txt, side by side.",
        where=shard,
    )


def compressed_shard(shard: str) -> DatasetRejected:
    """'compressed_shard'."""
    return DatasetRejected(
        "compressed_shard",
        f"The shard {shard} is compressed; samples could not be read at random from it.",
        "Decompress it and give the plain .tar; images inside are compressed already.",
        where=shard,
    )


def ambiguous_shard(shard: str, offset: int, what: str) -> DatasetRejected:
    """'ambiguous_shard'; `what` continues the sentence that begins with the shard's name."""
    return DatasetRejected(
        "ambiguous_shard",
        f"The shard {shard} {what} (near byte {offset}).",
        "Write it again with GNU tar, Python's tarfile or webdataset, from plain files with plain names.",
        where=shard,
    )
