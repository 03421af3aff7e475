"""What is fuzzed: a target takes bytes and hands them to one reader as the service would.

A target returns for input that was read or refused; whatever else escapes is a finding. Needs no atheris, so
that findings and seeds are replayed by the ordinary tests.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cleanclip.spec.errors import SanitizerError
from sanitizer.data.skipping import BadSample

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
