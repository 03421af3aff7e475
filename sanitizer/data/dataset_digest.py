"""The digest of a dataset: SHA-256 over its files' names and digests, in order."""

import hashlib
from collections.abc import Iterable
from pathlib import Path


def dataset_sha256(files: Iterable[tuple[str, Path | str]]) -> str:
    """SHA-256 of the lines `name NUL hexdigest LF`, one a file, in order; "missing" where it cannot be read.

    `files`: names with paths, or with digests where they are known.
    """
    total = hashlib.sha256()
    for name, path in files:
        total.update(name.encode("utf-8", "surrogateescape") + b"\0" + _file_digest(path) + b"\n")
    return total.hexdigest()


def _file_digest(path: Path | str) -> bytes:
    if isinstance(path, str):
        return path.encode()
    try:
        if not path.is_file():
            return b"missing"
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest().encode()
    except OSError:
        return b"missing"
