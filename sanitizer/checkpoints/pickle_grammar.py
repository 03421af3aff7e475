"""A pickle's instructions, one after the other, with the rules of the language that lenient readers ignore.

PROTO comes first and only once; no instruction is younger than the protocol; frames lie inside the pickle, do
not nest and cut no instruction; nothing follows STOP. torch and Python never write anything else, and each of
these freedoms has been used to show a scanner another pickle than the one that is loaded.
Source: CPython, Lib/pickletools.py and Lib/pickle.py.
"""

import pickletools
import re
from collections.abc import Iterator

from cleanclip.vocabulary.errors import CheckpointRejected
from sanitizer.checkpoints.rejection import UPLOAD_AGAIN, refusal

_OLDEST, _NEWEST = 2, 5
_FRAME_HEADER_BYTES = 9

Instruction = tuple[str, object]


def malformed(member: str, why: str) -> CheckpointRejected:
    """'pickle_malformed'; `why` continues the sentence that begins with the member's name."""
    message = f"'{member}' is not a valid pickle: it {why}."
    return refusal("pickle_malformed", message, UPLOAD_AGAIN, where=member)


def instructions(data: bytes, member: str) -> Iterator[Instruction]:
    """(name, argument) of each. Raises CheckpointRejected 'pickle_malformed' where a rule is broken."""
    rules = _Rules(len(data), member)
    position = 0
    operations = pickletools.genops(data)
    while True:
        try:
            opcode, argument, at = next(operations)
        except StopIteration:
            break
        except UnicodeError:
            raise malformed(member, "holds a text that is not UTF-8") from None
        except (ValueError, IndexError, OverflowError) as error:
            raise malformed(member, _explained(str(error), data)) from None
        position = at or 0
        rules.check(opcode, argument, position)
        if opcode.name == "GLOBAL" and _has_escapes(data, position):
            raise malformed(member, "writes a name with a backslash")
        yield opcode.name, argument
    if position != len(data) - 1:
        raise malformed(member, f"has {len(data) - 1 - position} bytes that follow its end")


def _has_escapes(data: bytes, position: int) -> bool:
    """pickletools resolves backslashes in the two lines of a name; unpicklers take them as they are."""
    return b"\\" in data[position : data.find(b"\n", data.find(b"\n", position) + 1)]


def _explained(problem: str, data: bytes) -> str:
    """pickletools' message in our words."""
    if found := re.search(r"at position (\d+), opcode .* unknown", problem):
        return f"has the byte 0x{data[int(found[1])]:02x} where an instruction should be"
    if found := re.search(r"expected (\d+) bytes in a \w+, but only (\d+) remain", problem):
        return f"breaks off: an instruction needs {found[1]} bytes, and {found[2]} are left"
    if "exhausted" in problem or "not enough data" in problem or "no newline" in problem:
        return "breaks off before its end"
    return "holds an instruction with an impossible argument"


class _Rules:
    """What must hold from one instruction to the next."""

    def __init__(self, size_bytes: int, member: str) -> None:
        self._size_bytes = size_bytes
        self._member = member
        self._protocol: int | None = None
        self._before = 0
        self._frame_end = 0

    def check(self, opcode: pickletools.OpcodeInfo, argument: object, position: int) -> None:
        if self._before < self._frame_end < position:
            raise malformed(self._member, "has a frame that ends inside an instruction")
        self._before = position
        if opcode.name == "PROTO":
            self._begin(argument)
        elif self._protocol is None:
            raise malformed(self._member, "does not begin with its protocol")
        elif opcode.proto > self._protocol:
            raise malformed(
                self._member,
                f"uses {opcode.name} of protocol {opcode.proto} in a pickle of protocol {self._protocol}",
            )
        if opcode.name == "FRAME":
            self._open_frame(argument, position)

    def _begin(self, argument: object) -> None:
        if self._protocol is not None:
            raise malformed(self._member, "starts a second time in the middle")
        if not isinstance(argument, int) or not _OLDEST <= argument <= _NEWEST:
            raise malformed(self._member, f"claims protocol {argument}")
        self._protocol = argument

    def _open_frame(self, argument: object, position: int) -> None:
        if position < self._frame_end:
            raise malformed(self._member, "has a frame that begins inside another")
        self._frame_end = position + _FRAME_HEADER_BYTES + (argument if isinstance(argument, int) else 0)
        if self._frame_end > self._size_bytes:
            raise malformed(self._member, "has a frame that ends after the pickle does")
