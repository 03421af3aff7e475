"""Whether bytes are a small image and nothing else: what a report may hold, and a page may show. Standard
library only.

A report is an untrusted file, and a page puts its images before a browser's decoders.
So an image is a square RGB PNG or baseline JPEG of known size without any part that does not make pixels:
no metadata, no comment, no thumbnail, no second frame, nothing behind its end.
"""

import base64
import zlib
from dataclasses import dataclass
from typing import Literal

MAX_SIDE = 224
"""Pixels. A larger one is made smaller before it is kept."""
MAX_BYTES = 24 * 1024
"""Of one image's file."""
MAX_CHARACTERS = 4 * -(-MAX_BYTES // 3)
"""Of the same in base64."""
MAX_PATTERN_BYTES = 64 * 1024
"""Of a pattern that an audit can lay on images: as much as of any trigger's image."""

_PNG = b"\x89PNG\r\n\x1a\n"
_RGB_OF_8_BITS = bytes([8, 2, 0, 0, 0])
_TWO_COLOURS = bytes([1, 3, 0, 0, 0])
_JPEG, _END_OF_JPEG = b"\xff\xd8", b"\xff\xd9"
_JFIF = b"JFIF\x00\x01\x01"
_APP0, _TABLES, _BASELINE, _SCAN = 0xE0, frozenset({0xDB, 0xC4}), 0xC0, 0xDA


@dataclass(frozen=True, kw_only=True)
class Plain:
    """What an image is: its kind, and its side in pixels."""

    media_type: Literal["image/png", "image/jpeg"]
    side: int


def read_image(text: str) -> Plain:
    """The image in this base64. Raises ValueError if it is not one, or more than an image."""
    data = base64.b64decode(text, validate=True)
    if len(data) > MAX_BYTES:
        raise ValueError(f"the image has more than {MAX_BYTES} bytes")
    if data.startswith(_PNG):
        return Plain(media_type="image/png", side=_png_rows(data)[0])
    if data.startswith(_JPEG):
        return Plain(media_type="image/jpeg", side=_side_of_jpeg(data))
    raise ValueError("the image is neither PNG nor JPEG")


def data_uri(text: str) -> str:
    """For the `src` of a page whose content security policy has `img-src data:`. Raises as `read_image`."""
    return f"data:{read_image(text).media_type};base64,{text}"


def check_image(text: str) -> str:
    """`text` itself. Raises as `read_image` does."""
    read_image(text)
    return text


def read_pattern(text: str) -> tuple[int, bytes]:
    """The side and the rows, each RGB and behind a zero, of a PNG in base64 as `write_pattern` makes it.

    Raises ValueError for any other file: what is decoded here is a stream of rows, and nothing else.
    """
    data = base64.b64decode(text, validate=True)
    if len(data) > MAX_PATTERN_BYTES or not data.startswith(_PNG):
        raise ValueError(f"the pattern is not a PNG of at most {MAX_PATTERN_BYTES} bytes")
    side, rows = _png_rows(data)
    if any(rows[:: 1 + 3 * side]):
        raise ValueError("the pattern's rows are filtered")
    return side, rows


def write_pattern(side: int, rows: bytes) -> bytes:
    """The file of these rows: a zero, then RGB, `side` times. Nothing but side and pixels decides its bytes,
    with one version of zlib."""
    return _png(side, _RGB_OF_8_BITS, zlib.compress(rows, 9))


def write_plain(rgb: bytes) -> bytes:
    """One pixel of this colour: the same bytes everywhere."""
    return _png(1, _RGB_OF_8_BITS, _stored(b"\0" + rgb))


def write_frame(side: int, width: int, rgb: bytes) -> bytes:
    """A border of this colour and width round nothing, `side` pixels, a multiple of eight: the same bytes
    everywhere."""
    inner = int("1" * width + "0" * (side - 2 * width) + "1" * width, 2)
    rows = [(1 << side) - 1 if min(at, side - 1 - at) < width else inner for at in range(side)]
    packed = b"".join(b"\0" + row.to_bytes(side // 8) for row in rows)
    palette = _chunk(b"PLTE", b"\0\0\0" + rgb) + _chunk(b"tRNS", b"\x00\xff")
    return _png(side, _TWO_COLOURS, _stored(packed), palette)


def _png(side: int, kind: bytes, packed: bytes, before: bytes = b"") -> bytes:
    header = _chunk(b"IHDR", side.to_bytes(4) * 2 + kind)
    return _PNG + header + before + _chunk(b"IDAT", packed) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4) + kind + content + zlib.crc32(kind + content).to_bytes(4)


def _stored(data: bytes) -> bytes:
    """A zlib stream without compression, as no version of zlib would make it otherwise; at most 64 KiB."""
    length = len(data)
    head = b"\x78\x01\x01" + length.to_bytes(2, "little") + (length ^ 0xFFFF).to_bytes(2, "little")
    return head + data + zlib.adler32(data).to_bytes(4)


def _png_rows(data: bytes) -> tuple[int, bytes]:
    """Side and rows: chunks IHDR, IDAT …, IEND with their sums, and in them exactly the rows of the image."""
    place, kinds, packed, header = len(_PNG), [], b"", b""
    while place < len(data):
        length, kind = int.from_bytes(data[place : place + 4]), data[place + 4 : place + 8]
        content, end = data[place + 8 : place + 8 + length], place + 12 + length
        if end > len(data) or zlib.crc32(kind + content) != int.from_bytes(data[end - 4 : end]):
            raise ValueError("the image is damaged")
        kinds.append(kind)
        header, packed = (content, packed) if kind == b"IHDR" else (header, packed + content)
        place = end
    if kinds != [b"IHDR", *[b"IDAT"] * (len(kinds) - 2), b"IEND"]:
        raise ValueError("the image has parts that make no pixels")
    side = _square(header[0:4], header[4:8])
    if header[8:] != _RGB_OF_8_BITS:
        raise ValueError("the image is not plain RGB")
    unpacking, num_bytes = zlib.decompressobj(), side * (1 + 3 * side)
    try:
        rows = unpacking.decompress(packed, num_bytes + 1)
    except zlib.error as error:
        raise ValueError("the image is damaged") from error
    if len(rows) != num_bytes or not unpacking.eof or unpacking.unused_data:
        raise ValueError("the image does not have the rows that it names")
    return side, rows


def _side_of_jpeg(data: bytes) -> int:
    """Tables, one baseline frame of three colours, one scan, and nothing else."""
    place, side = len(_JPEG), 0
    while True:
        marker, length = data[place + 1 : place + 2], int.from_bytes(data[place + 2 : place + 4])
        content = data[place + 4 : place + 2 + length]
        if data[place : place + 1] != b"\xff" or len(content) != length - 2:
            raise ValueError("the image is damaged")
        place += 2 + length
        if marker[0] == _BASELINE and not side:
            if content[0:1] != b"\x08" or content[5:6] != b"\x03":
                raise ValueError("the image is not plain RGB")
            side = _square(content[1:3], content[3:5])
        elif marker[0] == _SCAN and side:
            break
        elif marker[0] not in _TABLES and not (marker[0] == _APP0 and _is_bare_jfif(content)):
            raise ValueError("the image has parts that make no pixels")
    if not data.endswith(_END_OF_JPEG) or _has_marker(data[place:-2]):
        raise ValueError("the image has parts that make no pixels")
    return side


def _is_bare_jfif(content: bytes) -> bool:
    """Without a thumbnail."""
    return len(content) == 14 and content.startswith(_JFIF) and content[12:] == b"\x00\x00"


def _has_marker(scan: bytes) -> bool:
    """Whether anything but compressed pixels stands in it, where 0xff is always followed by zero."""
    return scan.count(b"\xff") != scan.count(b"\xff\x00")


def _square(width: bytes, height: bytes) -> int:
    side = int.from_bytes(width)
    if width != height or not 1 <= side <= MAX_SIDE:
        raise ValueError(f"the image is not a square of 1 to {MAX_SIDE} pixels")
    return side
