"""A file that opens as two formats shows one to us and another to whoever gets it next. Free of torch.

Each format is looked for wherever its own readers look: at some offsets, in a window, in the tail. A reader
of pickles is followed instruction by instruction, because its format has no signature.
"""

import pickletools
import re

from cleanclip.vocabulary.errors import CheckpointRejected
from cleanclip.vocabulary.first_bytes import SAVE_AGAIN
from sanitizer.checkpoints.mapped_file import MappedFile
from sanitizer.checkpoints.rejection import refusal

_END_BYTES = 22
_TAIL_BYTES = _END_BYTES + 65_535
"""Readers of zip files look for their end in this many bytes, the longest comment included."""
_HDF5, _HDF5_STEP = b"\x89HDF\r\n\x1a\n", 512
"""Its superblock may begin at 0, 512, 1024, 2048 and so on (HDF5 File Format Specification 3.0, II.A)."""
_SELF_EXTRACTING_BYTES = 2**20
_IN_A_WINDOW = (
    (b"%PDF-", 1024, "a PDF document"),
    (b"Rar!\x1a\x07", _SELF_EXTRACTING_BYTES, "a RAR archive"),
    (b"7z\xbc\xaf\x27\x1c", _SELF_EXTRACTING_BYTES, "a 7-Zip archive"),
)
"""Signature, in how many first bytes readers look for it, what it is."""

_NAMES_BY_TEXT = {"GLOBAL", "INST"}
_BY_REGISTRY = {"EXT1", "EXT2", "EXT4"}
"""Names by a number that a program has to register first; none is, and reading ends there."""
_CODES = {ord(opcode.code): opcode for opcode in pickletools.opcodes}
_LENGTH_BYTES = {
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}
_MAX_INSTRUCTIONS = 100_000
_MAX_NAME_BYTES = 1000
_MAX_LINE_BYTES = 2**25
"""More than a whole header. Of a longer line only this much is looked at."""
_NUMBER = re.compile(rb"[-+]?[0-9.]+(e[-+]?[0-9]+)?L?")


def check_is_one_format(file: MappedFile, container: str) -> None:
    """Refuse a zip or safetensors file that a reader of another format would open as well.

    Raises CheckpointRejected 'two_formats'. Among honest weights it happens to one safetensors file in
    65,000: four bytes of its tail are those of a zip's end.
    """
    offset, size_bytes = _HDF5_STEP, len(_HDF5)
    while offset + size_bytes <= file.size_bytes:
        if file.read(offset, size_bytes) == _HDF5:
            raise _two(container, f"an HDF5 file as well: it begins at byte {offset}")
        offset *= 2
    for signature, window, kind in _IN_A_WINDOW:
        position = file.read(0, window).find(signature)
        if position >= 0:
            raise _two(container, f"{kind} as well: it begins at byte {position}")
    if container == "safetensors":
        _check_is_no_zip(file)
        _check_is_no_pickle(file)


def _two(container: str, what: str) -> CheckpointRejected:
    return refusal("two_formats", f"The {container} file is {what}.", SAVE_AGAIN)


def _check_is_no_zip(file: MappedFile) -> None:
    found = file.find(b"PK\x05\x06", max(0, file.size_bytes - _TAIL_BYTES))
    if 0 <= found <= file.size_bytes - _END_BYTES:
        raise _two("safetensors", f"a zip archive as well: one ends at byte {found + _END_BYTES}")


def _check_is_no_pickle(file: MappedFile) -> None:
    """The length of the header can be a pickle's first instructions, which step over what follows.

    Whoever unpickles the file imports names until an instruction fails, so a name is enough; a value alone,
    which the first bytes of an honest file can make, harms nobody. Another pickle may follow the first one's
    STOP: torch's old format has four.
    """
    position = depth = 0
    for _ in range(_MAX_INSTRUCTIONS):
        opcode = _CODES.get(next(iter(file.read(position, 1)), -1))
        if opcode is None or opcode.name in _BY_REGISTRY or depth < _num_needed(opcode):
            return
        end = _end_of_argument(file, opcode, position + 1)
        if end is None:
            return
        if opcode.name == "STACK_GLOBAL" or opcode.name in _NAMES_BY_TEXT:
            break
        # At most so deep: what lies behind a mark is not counted.
        is_marked = pickletools.markobject in opcode.stack_before
        depth += len(opcode.stack_after) - (0 if is_marked else len(opcode.stack_before))
        position = end
    raise _two("safetensors", f"a pickle as well: its instructions reach byte {position}")


def _num_needed(opcode: pickletools.OpcodeInfo) -> int:
    """Values that must be on the stack before it."""
    return sum(value is not pickletools.stackslice for value in opcode.stack_before)


def _end_of_argument(file: MappedFile, opcode: pickletools.OpcodeInfo, start: int) -> int | None:
    """Where the next instruction begins; None where this one cannot be carried out."""
    if opcode.arg is None:
        return start
    if opcode.arg.n >= 0:
        return start + opcode.arg.n if start + opcode.arg.n <= file.size_bytes else None
    if opcode.arg.n == pickletools.UP_TO_NEWLINE:
        return _end_of_lines(file, opcode.name, start)
    width = _LENGTH_BYTES[opcode.arg.n]
    end = start + width + int.from_bytes(file.read(start, width), "little")
    return end if end <= file.size_bytes else None


def _end_of_lines(file: MappedFile, name: str, start: int) -> int | None:
    """After one line, or after two that are names."""
    for _ in range(2 if name in _NAMES_BY_TEXT else 1):
        newline = file.find(b"\n", start)
        if newline < 0:
            return None
        line = file.read(start, min(newline - start, _MAX_LINE_BYTES))
        if name != "UNICODE" and not _can_be_read(name, line):
            return None
        start = newline + 1
    return start


def _can_be_read(name: str, line: bytes) -> bool:
    """Would unpickling go on after this argument of `name`?"""
    if not line.isascii():
        return False
    if name in _NAMES_BY_TEXT:
        return len(line) <= _MAX_NAME_BYTES and line.decode("ascii").isprintable()
    if name == "STRING":
        return line[:1] in (b"'", b'"')
    return name == "PERSID" or _NUMBER.fullmatch(line) is not None
