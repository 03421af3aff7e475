"""Small JSON files that a child left, read without being harmed by them: their size, the number of their
parts, their numbers and their texts are bounded before anybody makes anything of them.
"""

import json
import os
import stat
from pathlib import Path
from typing import Any

from cleanclip.vocabulary.strict_json import parse_bounded, refuse_unbounded

MAX_RESULT_BYTES = 512 * 1024
"""Of a job's result, which every list carries: figures of 32 attacks, before and after, have 200 kB."""


class TooLarge(ValueError):
    """A regular file, and more than anybody reads."""


def read_regular(path: Path, max_bytes: int) -> bytes:
    """A small file that the child wrote; neither it nor its folder is a link. Raises OSError, ValueError
    (TooLarge)."""
    plain = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    folder = os.open(path.parent, plain | os.O_DIRECTORY)
    try:
        descriptor = os.open(path.name, plain, dir_fd=folder)
    finally:
        os.close(folder)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"{path.name} is not a regular file")
        if status.st_size > max_bytes:
            raise TooLarge(f"{path.name} has more than {max_bytes} bytes")
        return file.read(max_bytes)


def read_json(path: Path, max_bytes: int) -> bytes:
    """The bytes of a JSON file, bounded as `vocabulary.strict_json` says. Raises OSError, ValueError."""
    raw = read_regular(path, max_bytes)
    parse_bounded(raw)
    return raw


def fit_for_a_row(result: dict[str, Any]) -> dict[str, Any]:
    """`result`, if a list can carry it: no number but finite ones, and not too much. Raises ValueError."""
    refuse_unbounded(result)
    if len(json.dumps(result, allow_nan=False)) > MAX_RESULT_BYTES:
        raise ValueError("the figures are more than a job's row holds")
    return result
