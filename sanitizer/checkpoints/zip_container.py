"""The zip container of torch.save and TorchScript, read without trusting either of its two directories.

Members must be stored, not compressed; the records must tile the file exactly, so that nothing hides between
them, before or after; the central directory must agree with every local header; every CRC must be right.
TorchScript's `code/` alone may be compressed.
Source: PKWARE APPNOTE 6.3.10, sections 4.3.7-4.3.9.

A zip file's central directory, read with suspicion: names, sizes, methods, and where members begin.

Looks at no member; `zip_container` compares what is said here with what is there.
Source: PKWARE APPNOTE 6.3.10, sections 4.3.12-4.3.16, 4.4 and 4.5.3 (zip64).
"""

import stat
import struct
import zlib
from dataclasses import dataclass

from cleanclip.vocabulary.errors import CheckpointRejected
from sanitizer.checkpoints.limits import NO_CLIP
from sanitizer.checkpoints.mapped_file import MappedFile
from sanitizer.checkpoints.one_format import check_is_one_format
from sanitizer.checkpoints.rejection import UPLOAD_AGAIN, excerpt, refusal

MAX_MEMBERS = 50_000
MAX_NAME_BYTES = 512
STORED, DEFLATED = 0, 8
HAS_DESCRIPTOR = 0x0008

_END = struct.Struct("<4s4H2LH")  # end of central directory
_LOCATOR = struct.Struct("<4sLQL")  # zip64 end of central directory locator
_END64 = struct.Struct("<4sQ2H2L4Q")  # zip64 end of central directory
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_IS_UTF8 = 0x0800
_DEFLATE_LEVEL = 0x0006
_UNIX = (3, 19)  # who made the entry: Unix, macOS; only they put a kind of file into its attributes
_FOLDER = 0x10
"""DOS' attribute, whoever made the entry. Of a folder torch's reader (miniz) reads no byte, and hands out
what memory held before."""
_ZIP64, _UNICODE_PATH = 0x0001, 0x7075
_ENCRYPTED = 0x0001 | 0x0040 | 0x2000


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What the central directory says of one member."""

    name: bytes
    flags: int
    method: int
    crc: int
    packed_bytes: int
    size_bytes: int
    header_offset: int


def read_directory(file: MappedFile) -> tuple[list[Entry], int]:
    """All entries in the directory's order, and the offset at which the directory begins.

    Raises CheckpointRejected with codes 'zip_*'.
    """
    offset, size_bytes, count = _find_directory(file)
    return _read_entries(file, offset, size_bytes, count), offset


def layout_invalid(message: str, where: object) -> CheckpointRejected:
    return refusal("zip_layout_invalid", message, UPLOAD_AGAIN, where=where)


def truncated(message: str) -> CheckpointRejected:
    return refusal("zip_truncated", message, "The file is incomplete: upload it again in full.")


def compressed(name: bytes) -> CheckpointRejected:
    return refusal(
        "zip_compressed",
        f"Member '{excerpt(name)}' is compressed; torch.save never compresses.",
        "Upload the file as torch.save wrote it, not packed again.",
        where=name,
    )


def _find_directory(file: MappedFile) -> tuple[int, int, int]:
    """(offset, size in bytes, number of entries) of the central directory."""
    position = file.size_bytes - _END.size
    found = file.rfind(b"PK\x05\x06", max(0, file.size_bytes - 65_557))
    if found < 0:
        raise truncated("The archive's directory, at its end, is missing.")
    if found != position:
        raise refusal("zip_trailing_data", "Bytes follow the end of the archive.", UPLOAD_AGAIN)
    _, disk, start_disk, here, count, size_bytes, offset, comment = _END.unpack(
        file.read(position, _END.size)
    )
    end = position
    if comment:
        raise layout_invalid("The archive carries a comment.", "end of central directory")
    if disk or start_disk or here != count:
        raise layout_invalid("The archive claims to be split into several files.", "end of central directory")
    locator = file.read(position - _LOCATOR.size, _LOCATOR.size) if position >= _LOCATOR.size else b""
    if locator.startswith(b"PK\x06\x07"):
        end = position - _LOCATOR.size - _END64.size
        old = (count, size_bytes, offset)
        count, size_bytes, offset = _read_end64(file, end, _LOCATOR.unpack(locator))
        limits = (0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF)
        if any(
            short not in (limit, long)
            for short, limit, long in zip(old, limits, (count, size_bytes, offset), strict=True)
        ):
            raise layout_invalid("The archive's two directories disagree.", "zip64 end of central directory")
    if offset + size_bytes != end:
        raise layout_invalid(
            "The central directory is not where it is said to be.", "end of central directory"
        )
    if count > MAX_MEMBERS:
        raise refusal("zip_too_many_members", f"The archive has {count} members.", NO_CLIP)
    return offset, size_bytes, count


def _read_end64(
    file: MappedFile, position: int, locator: tuple[bytes, int, int, int]
) -> tuple[int, int, int]:
    raw = file.read(position, _END64.size) if position >= 0 else b""
    if len(raw) != _END64.size or locator[2] != position or not raw.startswith(b"PK\x06\x06"):
        raise layout_invalid("The zip64 directory is not where it is said to be.", "zip64 locator")
    _, size, _, _, disk, start_disk, here, count, size_bytes, offset = _END64.unpack(raw)
    if size != _END64.size - 12 or disk or start_disk or here != count:
        raise layout_invalid("The zip64 directory is malformed.", "zip64 end of central directory")
    return count, size_bytes, offset


def _read_entries(file: MappedFile, offset: int, size_bytes: int, count: int) -> list[Entry]:
    raw = file.read(offset, size_bytes)
    entries: list[Entry] = []
    seen: set[bytes] = set()
    position = 0
    for _ in range(count):
        if len(raw) < position + _CENTRAL.size or raw[position : position + 4] != b"PK\x01\x02":
            raise layout_invalid("The central directory is malformed.", "central directory")
        fields = _CENTRAL.unpack_from(raw, position)
        name_bytes, extra_bytes, comment_bytes = fields[10:13]
        start = position + _CENTRAL.size
        extra = raw[start + name_bytes : start + name_bytes + extra_bytes]
        entry = _entry(raw[start : start + name_bytes], fields, extra)
        if comment_bytes:
            raise layout_invalid(f"Member '{excerpt(entry.name)}' carries a comment.", entry.name)
        # Some file systems and readers ignore case; only code, which is never read, has names that do not.
        folded = entry.name if b"/code/" in entry.name else entry.name.lower()
        if folded in seen:
            raise refusal(
                "zip_duplicate_member",
                f"The archive names '{excerpt(entry.name)}' twice.",
                UPLOAD_AGAIN,
                where=entry.name,
            )
        seen.add(folded)
        entries.append(entry)
        position = start + name_bytes + extra_bytes + comment_bytes
    if position != size_bytes:
        raise layout_invalid("The central directory has bytes left over.", "central directory")
    return entries


def _entry(name: bytes, fields: tuple[int, ...], extra: bytes) -> Entry:
    flags, method, crc, packed, size, disk, offset = (fields[i] for i in (3, 4, 7, 8, 9, 13, 16))
    _check_name(name)
    if flags & _ENCRYPTED:
        raise refusal(
            "zip_encrypted",
            f"Member '{excerpt(name)}' is encrypted.",
            "Upload the checkpoint without a password.",
            where=name,
        )
    if flags & ~(HAS_DESCRIPTOR | _IS_UTF8 | _DEFLATE_LEVEL) or disk:
        raise layout_invalid(f"Member '{excerpt(name)}' has unknown flags.", name)
    is_special = fields[1] >> 8 in _UNIX and stat.S_IFMT(fields[15] >> 16) not in (0, stat.S_IFREG)
    if is_special or fields[15] & _FOLDER:
        raise layout_invalid(f"Member '{excerpt(name)}' is a link, a folder or a device, not a file.", name)
    if method not in (STORED, DEFLATED):
        raise compressed(name)
    size, packed, offset = widen(extra, (size, packed, offset), name)
    if method == STORED and size != packed:
        raise layout_invalid(f"Member '{excerpt(name)}' is stored with two sizes.", name)
    return Entry(
        name=name,
        flags=flags,
        method=method,
        crc=crc,
        packed_bytes=packed,
        size_bytes=size,
        header_offset=offset,
    )


def widen(extra: bytes, values: tuple[int, int, int], name: bytes) -> tuple[int, int, int]:
    """Replace every 0xFFFFFFFF of (size, packed size, offset) by its zip64 value, in that order."""
    wide: list[int] = []
    position = 0
    while position + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, position)
        body = extra[position + 4 : position + 4 + length]
        if kind == _UNICODE_PATH:
            raise refusal(
                "zip_headers_disagree",
                f"Member '{excerpt(name)}' has a second name, in an extra field.",
                UPLOAD_AGAIN,
                where=name,
            )
        if kind == _ZIP64 and wide:
            raise layout_invalid(f"Member '{excerpt(name)}' has its 64-bit sizes twice.", name)
        if kind == _ZIP64:
            wide = list(struct.unpack(f"<{len(body) // 8}Q", body[: len(body) // 8 * 8]))
        position += 4 + length
    result: list[int] = []
    for value in values:
        if value == 0xFFFFFFFF and not wide:
            raise layout_invalid(f"Member '{excerpt(name)}' lacks its 64-bit sizes.", name)
        result.append(wide.pop(0) if value == 0xFFFFFFFF else value)
    return result[0], result[1], result[2]


def _check_name(name: bytes) -> None:
    try:
        text = name.decode("utf-8")
    except UnicodeDecodeError:
        text = ""
    parts = text.split("/")
    is_plain = bool(text) and len(name) <= MAX_NAME_BYTES and text.isprintable() and "\\" not in text
    # An empty part is a leading, doubled or trailing slash; a colon could be a drive.
    if not is_plain or ":" in parts[0] or any(part in ("", ".", "..") for part in parts):
        raise refusal(
            "zip_unsafe_name",
            f"Member '{excerpt(name)}' has an absolute, parent-relative or unprintable name.",
            UPLOAD_AGAIN,
            where=name,
        )


_LOCAL = struct.Struct("<4s5H3L2H")
_CHUNK_BYTES = 1 << 24


@dataclass(frozen=True, kw_only=True)
class Member:
    """One stored file inside the archive: its bytes are file[offset : offset + size_bytes]."""

    name: str
    offset: int
    size_bytes: int
    header_offset: int = 0
    path_bytes: int = 0
    """Length of its name with the archive's top folder."""
    is_deflated: bool = False
    """TorchScript's code may be; `size_bytes` are then the packed ones."""


def open_zip(file: MappedFile, *, with_checksums: bool = True) -> dict[str, Member]:
    """Members by name, without the archive's top folder, all checks done (checksums take as long as reading).

    Raises CheckpointRejected with codes 'zip_*', 'two_formats'.
    """
    entries, directory_offset = read_directory(file)
    top = _top_folder(entries)
    for entry in entries:
        _check_signature(file, entry)
    ordered = sorted(entries, key=lambda entry: entry.header_offset)
    ends = [entry.header_offset for entry in ordered[1:]] + [directory_offset]
    if ordered[0].header_offset != 0:
        raise layout_invalid("Bytes precede the first member.", "start of file")
    members: dict[str, Member] = {}
    for entry, end in zip(ordered, ends, strict=True):
        data_offset = _check_local(file, entry, end)
        name = entry.name.decode().removeprefix(top)
        if entry.method != STORED and not name.startswith("code/"):
            raise compressed(entry.name)
        if entry.method == STORED and with_checksums:
            _check_crc(file, entry, data_offset)
        members[name] = Member(
            name=name,
            offset=data_offset,
            size_bytes=entry.packed_bytes,
            header_offset=entry.header_offset,
            path_bytes=len(entry.name),
            is_deflated=entry.method != STORED,
        )
    check_is_one_format(file, "zip")
    return members


def _disagree(name: bytes, what: str) -> CheckpointRejected:
    return refusal(
        "zip_headers_disagree",
        f"The archive's two headers of '{excerpt(name)}' disagree on its {what}.",
        UPLOAD_AGAIN,
        where=name,
    )


def _check_signature(file: MappedFile, entry: Entry) -> None:
    raw = file.read(entry.header_offset, _LOCAL.size)
    if len(raw) != _LOCAL.size or not raw.startswith(b"PK\x03\x04"):
        raise layout_invalid(
            f"The header of member '{excerpt(entry.name)}' is not where it is said to be.", entry.name
        )


def _top_folder(entries: list[Entry]) -> str:
    if not entries:
        raise refusal("zip_not_a_checkpoint", "The archive has no members.", UPLOAD_AGAIN)
    tops = {entry.name.decode().split("/", 1)[0] for entry in entries}
    if len(tops) != 1 or any(b"/" not in entry.name for entry in entries):
        raise refusal(
            "zip_not_a_checkpoint",
            "The archive's members are not in one folder, as in every PyTorch file.",
            "Upload the file that torch.save, torch.jit.save or safetensors wrote.",
            where=entries[0].name,
        )
    return tops.pop() + "/"


def _check_local(file: MappedFile, entry: Entry, end: int) -> int:
    """Compare the local header with the central directory; returns where the member's bytes begin."""
    _, _, flags, method, _, _, crc, packed, size, name_bytes, extra_bytes = _LOCAL.unpack(
        file.read(entry.header_offset, _LOCAL.size)
    )
    name = file.read(entry.header_offset + _LOCAL.size, name_bytes)
    extra = file.read(entry.header_offset + _LOCAL.size + name_bytes, extra_bytes)
    if name != entry.name:
        raise _disagree(entry.name, "name")
    if (flags, method) != (entry.flags, entry.method):
        raise _disagree(entry.name, "flags or method")
    promised = (entry.crc, entry.packed_bytes, entry.size_bytes)
    size, packed, _ = widen(extra, (size, packed, 0), name)  # refuses a second name in any case
    if (crc, packed, size) != promised and not (flags & HAS_DESCRIPTOR and (crc, packed, size) == (0, 0, 0)):
        raise _disagree(entry.name, "checksum or size")
    data_offset: int = entry.header_offset + _LOCAL.size + name_bytes + extra_bytes
    data_end = data_offset + entry.packed_bytes
    if data_end > file.size_bytes:
        raise truncated(f"Member '{excerpt(entry.name)}' ends after the file does.")
    if data_end > end:
        raise layout_invalid(f"Member '{excerpt(entry.name)}' overlaps the next.", entry.name)
    tail = file.read(data_end, min(end - data_end, 25))
    if _is_descriptor(tail, flags, promised):
        return data_offset
    if flags & HAS_DESCRIPTOR and len(tail) in (12, 16, 20, 24):
        raise layout_invalid(
            f"Checksum and sizes written after member '{excerpt(entry.name)}' are not the directory's.",
            entry.name,
        )
    raise layout_invalid(f"Unexplained bytes follow member '{excerpt(entry.name)}'.", entry.name)


def _is_descriptor(tail: bytes, flags: int, promised: tuple[int, int, int]) -> bool:
    """Is `tail` exactly the data descriptor that `flags` announce (or nothing)?"""
    if not flags & HAS_DESCRIPTOR:
        return not tail
    forms = []
    for numbers in ("<3L", "<L2Q"):
        if max(promised[1:]) <= 0xFFFFFFFF or numbers == "<L2Q":
            body = struct.pack(numbers, *promised)
            forms += [body, b"PK\x07\x08" + body]
    return tail in forms


def _check_crc(file: MappedFile, entry: Entry, offset: int) -> None:
    crc = 0
    for start in range(offset, offset + entry.size_bytes, _CHUNK_BYTES):
        crc = zlib.crc32(file.read(start, min(_CHUNK_BYTES, offset + entry.size_bytes - start)), crc)
        file.release()
    if crc != entry.crc:
        raise refusal(
            "zip_wrong_crc",
            f"The checksum of member '{excerpt(entry.name)}' is wrong.",
            UPLOAD_AGAIN,
            where=entry.name,
        )
