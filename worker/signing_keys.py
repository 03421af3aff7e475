"""The operator's signing key: made, checked, named. Signs nothing, and does not depend on a job.

    python -m worker.signing_keys new FOLDER     make a key: signing-key.pem (0600) and signing-key.pub.pem
    python -m worker.signing_keys ensure FOLDER  the same, unless there is one: for each start of a service
    python -m worker.signing_keys show FILE      print the public key of a private or public one, and its id

A key is ECDSA over P-256 in PEM. Its id is the SHA-256 of its SubjectPublicKeyInfo (DER), in hex. With
CLEANCLIP_SIGNING__KEY_PASSWORD set, `new` encrypts the key with it, and `show` opens it with it.
"""

import argparse
import hashlib
import os
import stat
import sys
from collections.abc import Sequence
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

PRIVATE_NAME = "signing-key.pem"
PUBLIC_NAME = "signing-key.pub.pem"
PASSWORD_VARIABLE = "CLEANCLIP_SIGNING__KEY_PASSWORD"  # noqa: S105 - the variable's name
_MAX_KEY_BYTES = 64 * 1024


class SigningKeyUnusable(Exception):
    """A key was named that cannot be used. The sentence says why and what to do; it holds no secret."""


def key_sha256(public_key: ec.EllipticCurvePublicKey) -> str:
    """The key's id: SHA-256 of its SubjectPublicKeyInfo, in hex."""
    der = public_key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()


def load_private_key(path: Path, password: bytes | None) -> ec.EllipticCurvePrivateKey:
    """The P-256 key in `path`, which nobody but its owner may read. Raises SigningKeyUnusable."""
    content = _read_private(path)
    try:
        key = serialization.load_pem_private_key(content, password)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        hint = (
            f"the password in {PASSWORD_VARIABLE} does not open it, or it is not a private key in PEM"
            if password is not None
            else f"it is not a private key in PEM, or it is encrypted and {PASSWORD_VARIABLE} is not set"
        )
        raise SigningKeyUnusable(f"The signing key {path} cannot be used: {hint}.") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise SigningKeyUnusable(
            f"The signing key {path} is not an elliptic curve key over P-256. "
            "Make one with: python -m worker.signing_keys new FOLDER"
        )
    return key


def _read_private(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise SigningKeyUnusable(f"The signing key {path} is not a file.")
            if status.st_mode & 0o077:
                raise SigningKeyUnusable(
                    f"The signing key {path} can be read by others than its owner. Run: chmod 600 {path}"
                )
            return file.read(_MAX_KEY_BYTES)
    except OSError as error:
        raise SigningKeyUnusable(
            f"The signing key {path} cannot be read: {error.strerror}. "
            "Correct CLEANCLIP_SIGNING__KEY_FILE, or unset it to publish unsigned."
        ) from error


def new_key(folder: Path, password: bytes | None = None) -> tuple[Path, str]:
    """Make a key in `folder`; returns the private key's path and the key's id. Never replaces a file.

    Raises OSError; FileExistsError where either file is there.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    if (folder / PUBLIC_NAME).exists():
        raise FileExistsError(f"{folder / PUBLIC_NAME} is there already; choose another folder.")
    _write_new(folder / PRIVATE_NAME, private, 0o600)
    _write_new(folder / PUBLIC_NAME, public_pem(key.public_key()), 0o644)
    return folder / PRIVATE_NAME, key_sha256(key.public_key())


def ensure_key(folder: Path, password: bytes | None = None) -> tuple[Path, str]:
    """The key in `folder`, which is made where there is none. Raises SigningKeyUnusable, OSError."""
    path = folder / PRIVATE_NAME
    if not path.exists():
        return new_key(folder, password)
    return path, key_sha256(load_private_key(path, password).public_key())


def _write_new(path: Path, content: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def public_pem(public_key: ec.EllipticCurvePublicKey) -> bytes:
    """What customers are given."""
    return public_key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _public_of(path: Path, password: bytes | None) -> ec.EllipticCurvePublicKey:
    """Raises SigningKeyUnusable, OSError."""
    content = path.read_bytes()[:_MAX_KEY_BYTES]
    if b"PRIVATE KEY" in content:
        return load_private_key(path, password).public_key()
    try:
        key = serialization.load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SigningKeyUnusable(f"{path} is not a key in PEM.") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise SigningKeyUnusable(f"{path} is not an elliptic curve key over P-256.")
    return key


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m worker.signing_keys", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, what in (("new", "make a key"), ("ensure", "make a key, unless there is one")):
        commands.add_parser(name, help=what).add_argument("folder", type=Path)
    commands.add_parser("show", help="print a public key and its id").add_argument("file", type=Path)
    given = parser.parse_args(arguments)
    password = os.environ.get(PASSWORD_VARIABLE, "").encode() or None
    try:
        if given.command in {"new", "ensure"}:
            make = new_key if given.command == "new" else ensure_key
            path, key_id = make(given.folder, password)
            sys.stdout.write(f"private key  {path}\npublic key   {path.with_name(PUBLIC_NAME)}\n")
        else:
            public_key = _public_of(given.file, password)
            key_id = key_sha256(public_key)
            sys.stdout.write(public_pem(public_key).decode())
        sys.stdout.write(f"key_sha256   {key_id}\n")
    except (SigningKeyUnusable, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
