"""Which container a file is, by its first bytes, and everything that can be refused without torch.

`check_container` is run before torch is even loaded: most hostile files are refused there, in a process that
has little in it. `reading` then does the same checks again, in full, and goes on to the tensors.

Where torch.load computes a storage to lie, held against where the directory says it lies. Free of torch.

With `calculate_storage_offsets` (torch.utils.serialization.config), and for tensors on the meta device, torch
does not look into the zip's directory but counts from one storage to the next as its own writer would have
placed them. An archive that announces this layout (.format_version) and lies otherwise has two contents.
Source: torch 2.13, serialization.py, `_load._get_offset`; caffe2/serialize/inline_container.cc, `getPadding`.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from cleanclip.vocabulary.errors import CheckpointRejected
from cleanclip.vocabulary.first_bytes import HEAD_BYTES, SAVE_AGAIN, Container, container_of_head
from sanitizer.checkpoints.mapped_file import MappedFile
from sanitizer.checkpoints.pickle_machine import MAX_PICKLE_BYTES, read_pickle
from sanitizer.checkpoints.pickle_values import IsAllowed, Read
from sanitizer.checkpoints.rejection import excerpt, refusal
from sanitizer.checkpoints.safetensors_header import read_header
from sanitizer.checkpoints.storages import check_all, member_of
from sanitizer.checkpoints.tensor_calls import Storage
from sanitizer.checkpoints.torch_names import (
    CONSTANTS_NAME,
    PICKLE_NAME,
    is_allowed_in_state_dict,
    is_allowed_in_torchscript,
)
from sanitizer.checkpoints.zip_container import Member, open_zip

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


_UPLOAD_A_CHECKPOINT = "Upload the file that torch.save, torch.jit.save or safetensors wrote."
_OF_TORCH_SAVE = re.compile(
    r"data\.pkl|data/\d+|(\.data/)?version|byteorder|\.data/serialization_id|\.format_version|\.storage_alignment"
)
_OF_TORCHSCRIPT = re.compile(
    _OF_TORCH_SAVE.pattern + r"|code/.+|extra/.+|(constants|traced_inputs)(\.pkl|/\d+)"
)
_SIDE_PICKLES = {CONSTANTS_NAME, "traced_inputs.pkl"}
"""TorchScript's other pickles: not used, but torch would run them, so they are held to the same list."""
_VERSIONS = (".data/version", "version")
_VERSION = re.compile(rb"([1-9]|10)\n?")
"""Source: torch 2.13, caffe2/serialize/versions.h."""


def container_of(file: MappedFile) -> Container:
    """By the first bytes. Raises CheckpointRejected."""
    return container_of_head(file.read(0, HEAD_BYTES))


def check_container(path: Path) -> None:
    """Refuse what can be refused without torch and without reading all bytes: `path` is a file.

    Raises CheckpointRejected. What passes is not accepted yet: see `reading.read_upload`.
    """
    file = MappedFile(path)
    if container_of(file) == "safetensors":
        read_header(file)
        return
    members = open_zip(file, with_checksums=False)
    check_members(members)
    is_torchscript = CONSTANTS_NAME in members
    is_allowed = is_allowed_in_torchscript if is_torchscript else is_allowed_in_state_dict
    read_data_pkl(file, members, is_allowed, has_instances=is_torchscript)


def check_members(members: Mapping[str, Member]) -> None:
    """Refuse the other zip files that PyTorch writes. Raises CheckpointRejected."""
    if "archive_format" in members or "archive_version" in members:
        raise refusal("pt2_archive", "The file is an exported program (.pt2), not a checkpoint.", SAVE_AGAIN)
    if ".data/extern_modules" in members:
        raise refusal("torch_package", "The file is a torch.package with code inside.", SAVE_AGAIN)
    if "bytecode.pkl" in members:
        raise refusal(
            "zip_not_a_checkpoint",
            "The archive is TorchScript for mobile devices, a program.",
            _UPLOAD_A_CHECKPOINT,
            where="bytecode.pkl",
        )
    if PICKLE_NAME not in members:
        raise refusal(
            "zip_not_a_checkpoint",
            "The archive is not one of PyTorch's: it has no data.pkl.",
            _UPLOAD_A_CHECKPOINT,
        )
    pattern = _OF_TORCHSCRIPT if CONSTANTS_NAME in members else _OF_TORCH_SAVE
    unknown = next((name for name in members if not pattern.fullmatch(name)), None)
    if unknown is not None:
        raise _unknown_member(unknown, "which torch.save and torch.jit.save never write")


def check_rest(file: MappedFile, members: Mapping[str, Member], read: Read) -> dict[str, Storage]:
    """What is not among the weights: tensors beside them, storages that data.pkl never mentions.

    Returns all storages by key.
    Raises CheckpointRejected 'tensor_*', 'storage_*', 'not_a_tensor', 'member_unknown'.
    """
    storages = check_all(read, PICKLE_NAME)
    for name in members:
        if name.startswith("data/") and name.removeprefix("data/") not in storages:
            raise _unknown_member(name, "a storage that its pickle never mentions")
    for found in storages.values():
        member_of(members, f"unnamed, in {PICKLE_NAME}", found)
    check_places(file, members, storages)
    _check_version(file, members)
    return storages


def _check_version(file: MappedFile, members: Mapping[str, Member]) -> None:
    """torch reads no archive without a version, nor one of a version that it does not know."""
    found = [member for name in _VERSIONS if (member := members.get(name))]
    if not found or not all(
        _VERSION.fullmatch(file.read(one.offset, min(one.size_bytes, 8))) for one in found
    ):
        raise refusal(
            "zip_not_a_checkpoint",
            "The archive does not say which version of PyTorch's format it has, or not one of 1 to 10.",
            _UPLOAD_A_CHECKPOINT,
            where=found[0].name if found else "version",
        )


def _unknown_member(name: str, why: str) -> CheckpointRejected:
    return refusal("member_unknown", f"The archive holds '{excerpt(name)}', {why}.", SAVE_AGAIN, where=name)


def read_data_pkl(
    file: MappedFile, members: Mapping[str, Member], is_allowed: IsAllowed, *, has_instances: bool = False
) -> Read:
    """data.pkl as inert data; TorchScript's other pickles are only held to the same rules.

    Raises CheckpointRejected 'pickle_*', 'byte_order_unsupported', of the others 'tensor_call_malformed'.
    """
    order = members.get("byteorder")
    if order is not None and file.read(order.offset, min(order.size_bytes, 16)) != b"little":
        raise refusal(
            "byte_order_unsupported",
            "The archive was written on a big-endian machine.",
            "Load it there and save it as safetensors.",
            where="byteorder",
        )
    read = _read_member(file, members[PICKLE_NAME], is_allowed, has_instances=has_instances)
    for name in _SIDE_PICKLES & members.keys():
        beside = _read_member(file, members[name], is_allowed, has_instances=has_instances)
        check_all(beside, name)
    return read


def _read_member(file: MappedFile, member: Member, is_allowed: IsAllowed, *, has_instances: bool) -> Read:
    data = file.read(member.offset, min(member.size_bytes, MAX_PICKLE_BYTES + 1))
    return read_pickle(data, member=member.name, is_allowed=is_allowed, has_instances=has_instances)
