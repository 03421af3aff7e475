"""Signs a folder with the operator's key, as OpenSSF model signatures are made.

The signature (`model.sig`, a Sigstore bundle around a DSSE envelope) names every file of the folder but
itself, each with its SHA-256. The key is read once, when the worker starts, and stays in this process.
Only a worker with a key configured imports this module: it costs a third of a second and forty megabytes.
"""

import base64
import json
from collections.abc import Mapping
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from model_signing import hashing, signing

from worker.signing_keys import SigningKeyUnusable, key_sha256, load_private_key, public_pem

SIGNATURE_NAME = "model.sig"


class SigningFailed(Exception):
    """The signature that was made does not say what it should; nothing may be published with it."""


class ModelSigner:
    """Signs with one key. Raises SigningKeyUnusable when made."""

    def __init__(self, key_file: Path, password: bytes | None = None) -> None:
        key = load_private_key(key_file, password)
        self._public_key = key.public_key()
        try:
            # The annotation says str; what the password is handed to takes bytes only.
            self._config = signing.Config().use_elliptic_key_signer(  # type: ignore[no-untyped-call]
                private_key=key_file,
                password=password,  # type: ignore[arg-type]
            )
        except (OSError, ValueError, TypeError) as error:
            raise SigningKeyUnusable(f"The signing key {key_file} cannot be used: {error}") from error
        self.key_sha256 = key_sha256(self._public_key)
        """The key's id."""
        self.public_pem = public_pem(self._public_key)
        """What goes beside a signature."""

    def sign(self, folder: Path, sha256: Mapping[str, str]) -> Path:
        """Write model.sig over all files of `folder`; returns its path. Takes a megabyte of memory.

        `sha256` are the digests that are to be vouched for; the signature is read back and must hold exactly
        these. Raises SigningFailed, OSError.
        """
        path = folder / SIGNATURE_NAME
        files = hashing.Config()  # type: ignore[no-untyped-call]
        files.use_file_serialization(hashing_algorithm="sha256", max_workers=1)
        # Git's own files are left out by default, and the rest of the folder would pass without them.
        files.set_ignored_paths(paths=[SIGNATURE_NAME], ignore_git_paths=False)
        self._config.set_hashing_config(files).sign(folder, path)
        self._read_back(path, sha256)
        return path

    def _read_back(self, path: Path, sha256: Mapping[str, str]) -> None:
        envelope = json.loads(path.read_bytes())["dsseEnvelope"]
        payload_type, payload = envelope["payloadType"].encode(), base64.b64decode(envelope["payload"])
        signed = b"DSSEv1 %d %b %d %b" % (len(payload_type), payload_type, len(payload), payload)
        try:
            self._public_key.verify(
                base64.b64decode(envelope["signatures"][0]["sig"]), signed, ec.ECDSA(hashes.SHA256())
            )
        except InvalidSignature as error:
            raise SigningFailed("the signature does not fit the key") from error
        vouched = {one["name"]: one["digest"] for one in json.loads(payload)["predicate"]["resources"]}
        if vouched != dict(sha256):
            raise SigningFailed("the files changed while they were signed")
