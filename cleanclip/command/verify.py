"""`verify`: checks a downloaded folder, offline. Needs no service and no API key of one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from cleanclip.command.exit_codes import ExitCode
from cleanclip.command.formats import plain
from cleanclip.command.output import Output
from cleanclip.command.session import JsonFlag
from cleanclip.evidence import public_keys, sentences, verification
from cleanclip.evidence.public_keys import PublicKey
from cleanclip.evidence.verification import Verification


def verify(
    *,
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="The folder that `cleanclip download` made.")
    ],
    key: Annotated[
        list[Path] | None,
        typer.Option("--key", metavar="PUB.pem", help="A public key that you trust; repeatable."),
    ] = None,
    key_folder: Annotated[
        Path | None,
        typer.Option(
            "--keys", metavar="DIR", help="A folder of trusted public keys (*.pem), current and former."
        ),
    ] = None,
    original: Annotated[
        Path | None, typer.Option("--input", metavar="FILE", help="The file that you uploaded.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Check offline that a job's files are complete, match each other and are signed by a key that you trust.

    Without a key the signature is checked against the key beside it, which nobody vouches for. Status 0:
    every check passed, which proves little without a trusted key; read the output. 8: a check failed. 11: the
    folder, the input or a key cannot be read.

    Example: cleanclip verify cleaned/ --input clip.pt --key operator.pub.pem
    """
    trusted = trusted_keys(folder, key or (), key_folder)
    found = verification.verify(folder, keys=trusted, input_file=original)
    output = Output(is_json=as_json)
    output.result(document(found), plain_text(found))
    if not found.holds:
        raise typer.Exit(ExitCode.NOT_VERIFIED)


def trusted_keys(folder: Path, files: Sequence[Path], key_folder: Path | None = None) -> list[PublicKey]:
    """Keys to check a folder's files with. Raises Unreadable; typer.BadParameter for one that lies in it."""
    trusted: list[PublicKey] = [public_keys.load(path) for path in files]
    if key_folder is not None:
        trusted += public_keys.load_folder(key_folder)
    if any(one.path.resolve().parent == folder.resolve() for one in trusted):
        raise typer.BadParameter(
            "A key that came with the files proves nothing. Use a key that you got in another way.",
            param_hint="--key",
        )
    return trusted


def document(verification: Verification) -> dict[str, Any]:
    """For programs."""
    return {
        "folder": str(verification.folder),
        "holds": verification.holds,
        "num_files": verification.num_files,
        "findings": [
            {"file": one.file, "where": one.where, "message": one.message} for one in verification.findings
        ],
        "signature": {"state": verification.signature, "key_sha256": verification.key_sha256},
        "input_matches": verification.input,
        "statement": None
        if verification.statement is None
        else verification.statement.model_dump(mode="json", by_alias=True),
        "headline": sentences.headline(verification),
        "proven": sentences.proven(verification),
        "not_proven": sentences.not_proven(verification),
    }


def plain_text(verification: Verification) -> str:
    """For people. Names and texts of the folder are untrusted: control characters are shown, not sent."""
    lines = [sentences.headline(verification)]
    lines += [f"  - {one}" for one in verification.findings]
    for title, said in (
        ("Proven:", sentences.proven(verification)),
        ("Not proven:", sentences.not_proven(verification)),
    ):
        if said:
            lines += ["", title, *(f"  - {one}" for one in said)]
    return "\n".join(plain(line) for line in lines)
