"""Whether a key that the reader trusts vouches for a null set in a file."""

import argparse
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from cleanclip.evidence.signed_file import NotVouched, Vouched, check
from cleanclip.vocabulary.errors import OptionsRejected
from cleanclip.vocabulary.null_set import NullSet, load_null
from sanitizer.cli.arguments import UsageError
from sanitizer.pipeline.judging_null import read_bytes, read_null


@dataclass(frozen=True, kw_only=True)
class SignedNull:
    """A null set whose file a trusted key signed."""

    null: NullSet
    by: Vouched

    def __str__(self) -> str:
        return (
            f"The key {self.by.key_sha256} vouches for the null set '{self.null.name}' with the SHA-256 "
            f"{self.null.sha256} (the SHA-256 of the file is {self.by.file_sha256})."
        )


def judging_null(arguments: argparse.Namespace, err: Console) -> NullSet | None:
    """That of --null, read once: the null that --null-key vouches for is the one that judges.

    Raises UsageError, OptionsRejected.
    """
    if arguments.null_key is None:
        return None if arguments.null is None else read_null(arguments.null)
    if arguments.null is None:
        raise UsageError("--null-key is the key that signed a null set: give --null as well.")
    signed = signed_null(arguments.null, key_file=arguments.null_key)
    say(err, signed)
    return signed.null


def say(console: Console, signed: SignedNull) -> None:
    """In one line, so that a digest can be copied."""
    console.print(str(signed), highlight=False, markup=False, soft_wrap=True)


def signed_null(path: Path, *, key_file: Path, signature_file: Path | None = None) -> SignedNull:
    """The null set in the file, signed by the key. Raises OptionsRejected."""
    content = read_bytes(path)
    try:
        by = check(path, content, key_file=key_file, signature_file=signature_file)
    except NotVouched as error:
        raise OptionsRejected(
            "null_not_verified",
            f"The null set is not verified. {error}",
            "Get the null set, its signature and the public key again from whoever signed it.",
            where="null",
        ) from error
    return SignedNull(null=load_null(content), by=by)
