"""A single file and the signature beside it: whether a key that the reader trusts vouches for its bytes.

The signature is an OpenSSF model signature over that one file, by its name and SHA-256, and is read as
strictly as `model.sig` of a job. Needs no server, no network and no signing library.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from cleanclip.errors import Unreadable
from cleanclip.evidence import public_keys, signature
from cleanclip.evidence.reading import Malformed, read_small


class NotVouched(Exception):
    """The key does not vouch for the file. The message is a sentence that says why."""


@dataclass(frozen=True, kw_only=True)
class Vouched:
    """Which key vouches for which bytes."""

    key_sha256: str
    """The key's id."""
    file_sha256: str


def signature_of(path: Path) -> Path:
    """Where the signature of a file lies: beside it."""
    return path.with_name(f"{path.name}.sig")


def check(path: Path, content: bytes, *, key_file: Path, signature_file: Path | None = None) -> Vouched:
    """Check that the key signed `content`, which was read from `path`. Raises NotVouched.

    The bytes are the caller's, so that no other bytes are used than those that were checked.
    """
    beside = signature_of(path) if signature_file is None else signature_file
    try:
        key = public_keys.load(key_file)
        if not beside.exists():
            raise NotVouched(f"{path.name} is not signed: there is no {beside}.")
        signed = signature.parse(read_small(beside.resolve(), signature.MAX_BYTES))
        is_by_key = signed.key_of([key]) is not None
    except Unreadable as error:
        raise NotVouched(str(error)) from error
    except Malformed as error:
        raise NotVouched(f"The signature {beside} {error}.") from error
    if not is_by_key:
        raise NotVouched(f"The signature {beside} was made with another key than {key_file}.")
    if set(signed.sha256) != {path.name}:
        names = ", ".join(repr(name[:60]) for name in sorted(signed.sha256)[:3])
        raise NotVouched(f"The signature {beside} is not of a file {path.name!r} alone, but of {names}.")
    file_sha256 = hashlib.sha256(content).hexdigest()
    if signed.sha256[path.name] != file_sha256:
        raise NotVouched(f"{path.name} is not the file that was signed: its SHA-256 differs.")
    return Vouched(key_sha256=key.sha256, file_sha256=file_sha256)
