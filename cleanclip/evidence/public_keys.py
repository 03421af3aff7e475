"""Public keys that the reader trusts, from PEM files. Its SubjectPublicKeyInfo's SHA-256 is a key's id."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from cleanclip.errors import Unreadable
from cleanclip.evidence.reading import Malformed, read_small

MAX_BYTES = 64 * 1024
_MAX_KEYS = 256


@dataclass(frozen=True, kw_only=True)
class PublicKey:
    """ECDSA over P-256. `sha256` is its id; `hint` is what a model signature calls it (digest of the PEM)."""

    path: Path
    sha256: str
    hint: str
    key: ec.EllipticCurvePublicKey

    def fits(self, signature: bytes, message: bytes) -> bool:
        """Whether the holder of the private key signed `message`."""
        try:
            self.key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True


def load(path: Path) -> PublicKey:
    """Raises Unreadable, with a sentence, for anything but a P-256 public key in PEM."""
    try:
        # A trusted key may be a link; what is checked here is only that it is not a gigabyte.
        content = read_small(path.resolve(), MAX_BYTES)
        if b"PRIVATE KEY" in content:
            raise Unreadable(
                f"{path} is a private key. Checking needs the public key; keep the private key secret."
            )
        return parse(content, path)
    except Malformed as error:
        raise Unreadable(f"{path} {error}.") from error


def parse(content: bytes, path: Path) -> PublicKey:
    """The key in PEM that `path` holds. Raises Malformed, whose message goes on after the path."""
    try:
        key = load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Malformed("is not a public key in PEM") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise Malformed("is not a public key of the kind that signs here (P-256)")
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return PublicKey(
        path=path, sha256=hashlib.sha256(der).hexdigest(), hint=hashlib.sha256(pem).hexdigest(), key=key
    )


def load_folder(folder: Path) -> Sequence[PublicKey]:
    """Every *.pem of the folder. Raises Unreadable, also where there is none."""
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix == ".pem")
    except OSError as error:
        raise Unreadable(f"The folder {folder} cannot be read: {error.strerror}.") from error
    if not paths or len(paths) > _MAX_KEYS:
        raise Unreadable(f"{folder} holds {len(paths)} *.pem files; 1 to {_MAX_KEYS} can be used.")
    return [load(path) for path in paths]
