"""Signs a null set with the operator's key: `python -m worker.sign_null NULL.json --key KEY.pem`.

Writes NULL.json.sig, an OpenSSF model signature over that one file by its name and SHA-256. The key is one
that `python -m worker.signing_keys new` made; CLEANCLIP_SIGNING__KEY_PASSWORD opens it if it is encrypted.
Needs the extra `signing` and the private key; what checks a signature needs neither.
"""

import argparse
import hashlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from cleanclip.evidence.signed_file import signature_of
from cleanclip.vocabulary.errors import OptionsRejected
from cleanclip.vocabulary.null_set import MAX_NULL_BYTES, load_null
from worker.publishing.signing import ModelSigner, SigningFailed
from worker.signing_keys import PASSWORD_VARIABLE, SigningKeyUnusable


def sign_null(path: Path, signer: ModelSigner) -> Path:
    """Write the signature beside the null set, in place of an earlier one; returns its path.

    Raises OptionsRejected for a file that is damaged or is not a null set, SigningFailed, OSError.
    """
    with path.open("rb") as file:
        content = file.read(MAX_NULL_BYTES + 1)
    load_null(content)
    # The library signs folders, so the bytes that were checked lie alone in one.
    with TemporaryDirectory(prefix="sign-") as name:
        folder = Path(name)
        (folder / path.name).write_bytes(content)
        signature = signer.sign(folder, {path.name: hashlib.sha256(content).hexdigest()}).read_bytes()
    beside = signature_of(path)
    beside.write_bytes(signature)
    return beside


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m worker.sign_null", description=__doc__)
    parser.add_argument("null", metavar="NULL.json", type=Path, help="what `sanitizer null build` wrote")
    parser.add_argument("--key", metavar="KEY.pem", type=Path, required=True, help="the private key")
    given = parser.parse_args(arguments)
    password = os.environ.get(PASSWORD_VARIABLE, "").encode() or None
    try:
        signer = ModelSigner(given.key, password)
        path = sign_null(given.null, signer)
    except (SigningKeyUnusable, OptionsRejected, SigningFailed, OSError) as error:
        sys.stderr.write(f"{given.null} was not signed: {error}\n")
        return 1
    sys.stdout.write(f"signature    {path}\nkey_sha256   {signer.key_sha256}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
