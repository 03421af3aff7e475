"""SHA-256 of files, folders and datasets, read in pieces. Free of torch."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from sanitizer.checkpoints.rejection import UPLOAD_AGAIN, refusal


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, read in pieces, as lower-case hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_of(path: Path) -> list[Path]:
    """The file itself, or a folder's files by name."""
    if path.is_file():
        return [path]
    return sorted(file for file in path.iterdir() if file.is_file())


def upload_sha256(path: Path) -> str:
    """SHA-256 of a file; of a folder, over its files' names and digests in order."""
    if path.is_file():
        return file_sha256(path)
    lines = [f"{file_sha256(file)}  {file.name}\n" for file in files_of(path)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def check_digest(path: Path, expected_sha256: str | None) -> str | None:
    """The digest, if one is expected. Raises CheckpointRejected 'digest_mismatch' if it is another."""
    if expected_sha256 is None:
        return None
    digest = upload_sha256(path)
    if expected_sha256.lower() != digest:
        raise refusal("digest_mismatch", "The bytes are not those whose SHA-256 was declared.", UPLOAD_AGAIN)
    return digest


def dataset_sha256(files: Iterable[tuple[str, Path | str]]) -> str:
    """SHA-256 of the lines `name NUL hexdigest LF`, one a file, in order; "missing" where it cannot be read.

    `files`: names with paths, or with digests where they are known.
    """
    total = hashlib.sha256()
    for name, path in files:
        total.update(name.encode("utf-8", "surrogateescape") + b"\0" + _hex_digest(path) + b"\n")
    return total.hexdigest()


def _hex_digest(path: Path | str) -> bytes:
    if isinstance(path, str):
        return path.encode()
    try:
        return file_sha256(path).encode() if path.is_file() else b"missing"
    except OSError:
        return b"missing"
