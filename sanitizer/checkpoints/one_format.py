"""A file that opens as two formats shows one to us and another to whoever gets it next. Free of torch."""

from __future__ import annotations

from sanitizer.checkpoints.mapped_file import MappedFile
from sanitizer.checkpoints.rejection import SAVE_AGAIN, refusal

_END_BYTES = 22
_TAIL_BYTES = _END_BYTES + 65_535
"""Readers of zip files look for their end in this many bytes, the longest comment included."""


def check_is_no_zip(file: MappedFile) -> None:
    """Refuse a file in whose tail a reader of zip files would find an archive's end; says nothing else.

    Raises CheckpointRejected 'two_formats'. Among honest weights it happens to one file in 65,000.
    """
    found = file.find(b"PK\x05\x06", max(0, file.size_bytes - _TAIL_BYTES))
    if 0 <= found <= file.size_bytes - _END_BYTES:
        raise refusal(
            "two_formats",
            f"The safetensors file is a zip archive as well: one ends at byte {found + _END_BYTES}.",
            SAVE_AGAIN,
        )


def is_tar(head: bytes) -> bool:
    """Would a reader of tar files take the first 512 bytes for a header? Its checksum is all they ask for."""
    field = head[148:156].strip(b" \0")
    if len(head) < 512 or not field or not all(byte in b"01234567" for byte in field):
        return False
    return int(field, 8) == sum(head[:512]) - sum(head[148:156]) + 8 * 0x20
