"""What is fuzzed: a target takes bytes and hands them to one reader as the service would.

A target returns for input that was read or refused; whatever else escapes is a finding. Needs no atheris, so
that findings and seeds are replayed by the ordinary tests. Checksums are put right.
"""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cleanclip.vocabulary.errors import SanitizerError
from sanitizer.data.skipping import BadSample

_BLOCK = 512
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"


def tar_checksums(data: bytes) -> bytes:
    """`data` with the checksum of every header that a walk through it meets."""
    out = bytearray(data)
    position = 0
    while position + _BLOCK <= len(out):
        header = out[position : position + _BLOCK]
        if not any(header):
            break
        header[148:156] = b" " * 8
        out[position + 148 : position + 156] = b"%06o\0 " % sum(header)
        position += _BLOCK + _rounded_size(bytes(header[124:136]))
    return bytes(out)


def _rounded_size(field: bytes) -> int:
    digits = field.split(b"\0", 1)[0].strip()
    try:
        size = int(digits or b"0", 8)
    except ValueError:
        size = 0
    return -(-size // _BLOCK) * _BLOCK


def png_checksums(data: bytes) -> bytes:
    """`data` with the CRC of every chunk, if it is a PNG."""
    if not data.startswith(_PNG_MAGIC):
        return data
    out = bytearray(data)
    position = len(_PNG_MAGIC)
    while position + 12 <= len(out):
        end = position + 8 + int.from_bytes(out[position : position + 4], "big")
        if end + 4 > len(out):
            break
        out[end : end + 4] = zlib.crc32(out[position + 4 : end]).to_bytes(4, "big")
        position = end + 4
    return bytes(out)


MODULES: Mapping[str, str] = {
    "zip": "lab.fuzz.checkpoints",
    "pickle": "lab.fuzz.checkpoints",
    "safetensors": "lab.fuzz.checkpoints",
    "tar": "lab.fuzz.data",
    "image": "lab.fuzz.data",
    "trigger_image": "lab.fuzz.checkpoints",
    "text": "lab.fuzz.data",
}
"""Where each target is: imported late, so that coverage can be watched from the first line on."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """`read` is given bytes and a folder of its own in which it may write its input, nothing else."""

    read: Callable[[bytes, Path], None]
    max_bytes: int


def target(name: str) -> Target:
    """Raises KeyError."""
    found: Target = importlib.import_module(MODULES[name]).TARGETS[name]
    return found


def run_one(tried: Target, data: bytes, folder: Path) -> None:
    """Read `data`. Raises what the reader did not refuse."""
    try:
        tried.read(data, folder)
    except (SanitizerError, BadSample) as refusal:
        check_refusal(refusal)


def check_refusal(refusal: SanitizerError | BadSample) -> None:
    """A refusal has a sentence, without anything in it that a terminal would obey."""
    assert str(refusal)
    assert str(refusal).isprintable(), ascii(str(refusal))


def kept(data: bytes, folder: Path, name: str) -> Path:
    """`data` as a file in the target's own folder."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path
