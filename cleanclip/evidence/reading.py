"""Reads an untrusted folder: plain files only, never through a link, nothing unbounded into memory."""

import hashlib
import json
import math
import os
import stat
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError

from cleanclip.errors import Unreadable
from cleanclip.evidence.findings import Finding
from cleanclip.vocabulary.strict_json import MAX_PARTS, RepeatedKey, refuse_many, unique_keys

MAX_ENTRIES = 256
MAX_JSON_BYTES = 32 * 1024 * 1024
MAX_JSON_DEPTH = 64
"""Eight is as deep as a job's files go; what is printed and compared later has limits of its own."""
_PIECE_BYTES = 1024 * 1024
_FLAGS = (
    os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
)


class Malformed(ValueError):
    """Not what it should be; the message goes on after the file's name."""


class Inconsistent(Malformed):
    """It says something at `where` that does not follow from the rest of it."""

    def __init__(self, where: str, problem: str) -> None:
        super().__init__(f"contradicts itself: {where} {problem}")
        self.where = where
        self.problem = problem


def sizes_of(folder: Path) -> tuple[dict[str, int], list[Finding]]:
    """Name and size in bytes of every plain file, and what else lies there. Raises Unreadable."""
    sizes: dict[str, int] = {}
    findings = []
    try:
        with os.scandir(folder) as entries:
            for number, entry in enumerate(entries):
                if number >= MAX_ENTRIES:
                    findings.append(
                        Finding(
                            file=".", message=f"holds more than {MAX_ENTRIES} things; no job leaves so many"
                        )
                    )
                    break
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(status.st_mode):
                    sizes[entry.name] = status.st_size
                else:
                    kind = "a link" if stat.S_ISLNK(status.st_mode) else "no plain file"
                    findings.append(Finding(file=entry.name, message=f"is {kind}; it was not followed"))
    except OSError as error:
        raise Unreadable(f"The folder {folder} cannot be read: {error.strerror}.") from error
    return sizes, findings


def sha256_of(path: Path, *, size_bytes: int | None = None) -> str:
    """SHA-256 of a plain file, read in pieces, at most as far as `size_bytes` + 1. Raises Unreadable."""
    digest = hashlib.sha256()
    left = None if size_bytes is None else size_bytes + 1
    try:
        with _open(path) as file:
            while piece := file.read(_PIECE_BYTES if left is None else min(_PIECE_BYTES, left)):
                digest.update(piece)
                left = None if left is None else left - len(piece)
    except OSError as error:
        raise Unreadable(f"{path} cannot be read: {error.strerror or error}.") from error
    return digest.hexdigest()


def read_small(path: Path, max_bytes: int = MAX_JSON_BYTES) -> bytes:
    """The file's bytes. Raises Malformed where there are more than `max_bytes`; Unreadable."""
    try:
        with _open(path) as file:
            size_bytes = os.fstat(file.fileno()).st_size
            content = b"" if size_bytes > max_bytes else file.read(size_bytes + 1)
    except OSError as error:
        raise Unreadable(f"{path} cannot be read: {error.strerror or error}.") from error
    if max(size_bytes, len(content)) > max_bytes:
        raise Malformed(f"has more than {max_bytes} bytes")
    return content


def _open(path: Path) -> Any:
    descriptor = os.open(path, _FLAGS)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError("it is not a plain file")
    return os.fdopen(descriptor, "rb")


def parse_json(content: bytes, most_parts: int = MAX_PARTS) -> Any:
    """JSON in UTF-8, of so many parts, no key twice in an object, every number finite, texts that can be
    printed again. Raises Malformed.
    """
    try:
        refuse_many(content, most_parts)
    except ValueError as error:
        raise Malformed(f"cannot be read: {error}") from error
    try:
        value = json.loads(
            content.decode("utf-8"),
            object_pairs_hook=unique_keys,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
        _check_depth(value)
        if b"\\u" in content:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        return value
    except UnicodeDecodeError as error:
        raise Malformed("is not UTF-8") from error
    except UnicodeEncodeError as error:
        raise Malformed("holds half of a character (a lone surrogate)") from error
    except RecursionError as error:
        raise Malformed("is nested too deeply") from error
    except RepeatedKey as error:
        raise Malformed(f"cannot be read: {error}") from error
    except Malformed:
        raise
    except ValueError as error:
        raise Malformed("is not JSON") from error


def first_problem(error: ValidationError) -> tuple[str, str]:
    """Where the first thing lies that is not of the wanted form, shortened, and what is the matter there."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return where[:80] or "its top", first["msg"]


def malformed(error: ValidationError, what: str) -> Malformed:
    """That a file is not `what` it should be, or says what does not follow from the rest of it."""
    where, problem = first_problem(error)
    first = error.errors()[0]
    if first["type"] in {"does_not_follow", "value_error"}:
        steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in first["loc"])
        return Inconsistent("".join(steps).lstrip("."), problem.removeprefix("Value error, "))
    return Malformed(f"is not {what} that this version reads ({where}: {problem})")


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_JSON_DEPTH + 1):
        parts = (
            one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list)
        )
        level = [part for some in parts for part in some if isinstance(part, dict | list)]
        if not level:
            return
    raise Malformed("is nested too deeply")


def _refuse_constant(text: str) -> NoReturn:
    raise Malformed(f"holds {text}, which is not a number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise Malformed(f"holds {text[:40]}, which is not a number")
    return value
