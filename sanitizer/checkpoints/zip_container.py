"""The zip container of torch.save and TorchScript, read without trusting either of its two directories.

Members must be stored, not compressed; the records must tile the file exactly, so that nothing hides between
them, before or after; the central directory must agree with every local header; every CRC must be right.
TorchScript's `code/` alone may be compressed.
Source: PKWARE APPNOTE 6.3.10, sections 4.3.7-4.3.9.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from cleanclip.spec.errors import CheckpointRejected
from sanitizer.checkpoints.mapped_file import MappedFile
from sanitizer.checkpoints.one_format import check_is_one_format
from sanitizer.checkpoints.rejection import UPLOAD_AGAIN, excerpt, refusal
from sanitizer.checkpoints.zip_directory import (
    HAS_DESCRIPTOR,
    STORED,
    Entry,
    compressed,
    layout_invalid,
    read_directory,
    truncated,
    widen,
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
