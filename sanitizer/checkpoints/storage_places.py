"""Where torch.load computes a storage to lie, held against where the directory says it lies. Free of torch.

With `calculate_storage_offsets` (torch.utils.serialization.config), and for tensors on the meta device, torch
does not look into the zip's directory but counts from one storage to the next as its own writer would have
placed them. An archive that announces this layout (.format_version) and lies otherwise has two contents.
Source: torch 2.13, serialization.py, `_load._get_offset`; caffe2/serialize/inline_container.cc, `getPadding`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cleanclip.spec.errors import CheckpointRejected
from cleanclip.spec.first_bytes import SAVE_AGAIN
from sanitizer.checkpoints.mapped_file import MappedFile
from sanitizer.checkpoints.rejection import excerpt, refusal
from sanitizer.checkpoints.zip_container import Member

_LOCAL_HEADER_BYTES = 30
_FIELD_BYTES = 4  # kind and length of an extra field
_WIDE = 0xFFFFFFFF
_ALIGNMENTS = {str(2**power).encode() for power in range(17)}


def check_places(file: MappedFile, members: Mapping[str, Member], keys: Iterable[str]) -> None:
    """`keys`: of the storages of data.pkl, in the order of their first mention.

    Raises CheckpointRejected 'storage_misplaced'.
    """
    if _content(file, members.get(".format_version")) < b"1":
        return
    alignment = members.get(".storage_alignment")
    digits = b"64" if alignment is None else _content(file, alignment)
    if digits not in _ALIGNMENTS:
        raise _misplaced(".storage_alignment")
    at: int | None = None
    for key in keys:
        member = members[f"data/{key}"]
        if at is None:
            at = member.header_offset  # torch looks for the first one
            expected = member.offset if key == "0" else -1
        else:
            expected = _placed(at, member, int(digits))
        if member.offset != expected:
            raise _misplaced(member.name)
        at = _next(at, member)


def _content(file: MappedFile, member: Member | None) -> bytes:
    return b"" if member is None else file.read(member.offset, min(member.size_bytes, 16))


def _placed(header: int, member: Member, alignment: int) -> int:
    start = header + _LOCAL_HEADER_BYTES + member.path_bytes + _FIELD_BYTES
    is_long, is_far = member.size_bytes >= _WIDE, header >= _WIDE
    if is_long or is_far:
        start += _FIELD_BYTES + 16 * is_long + 8 * is_far
    return start + -start % alignment


def _next(header: int, member: Member) -> int:
    end = member.offset + member.size_bytes
    if member.size_bytes:
        end += 24 if header >= _WIDE or member.size_bytes >= _WIDE else 16
    return end


def _misplaced(name: str) -> CheckpointRejected:
    return refusal(
        "storage_misplaced",
        f"The archive says that it is laid out as torch.save does, and '{excerpt(name)}' is not.",
        SAVE_AGAIN,
        where=name,
    )
