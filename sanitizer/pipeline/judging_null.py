"""A null set in a file: read, and held against the scan that it is to judge."""

from pathlib import Path

from cleanclip.vocabulary import null_set


def read_null(path: Path) -> null_set.NullSet:
    """The null set in the file. Raises OptionsRejected."""
    return null_set.load_null(read_bytes(path))


def read_bytes(path: Path) -> bytes:
    """The file of a null set, at most a byte more than one may have. Raises OptionsRejected."""
    try:
        with path.open("rb") as file:
            return file.read(null_set.MAX_NULL_BYTES + 1)
    except OSError as error:
        raise null_set.unreadable_null(f"{path.name}: {error.strerror}") from error


def check_null(null: null_set.NullSet, scan: null_set.ScanToJudge, weights_sha256: str) -> None:
    """Raises OptionsRejected where this null cannot judge this scan; the sentence says what differs."""
    holds = any(one.statistics.weights_sha256 == weights_sha256 for one in null.models)
    for refusal in null_set.refusals(null, scan, holds_suspect=holds):
        raise refusal
