"""Nulls: add one from its file, remove one, list those that there are."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from app.cli.access import account, operators_database
from app.cli.output import print_row, say
from app.services import nulls
from app.settings import load_settings
from app.storage.errors import StorageError
from app.storage.s3 import S3Store
from cleanclip.evidence.signed_file import NotVouched, check
from cleanclip.vocabulary.null_set import MAX_NULL_BYTES

_SHOWN = ("id", "name", "num_models", "size_bytes", "sha256", "created_at", "added_by", "signing_key_sha256")
"""`sha256` is over the null's content, as in the API and in reports; the row's own is over the file."""


def _run_add(options: argparse.Namespace) -> int:
    try:
        with options.file.open("rb") as file:
            data = file.read(MAX_NULL_BYTES + 1)
    except OSError as error:
        say(f"add-null: {options.file} cannot be read: {error.strerror}.")
        return 1
    try:
        key_id = _signing_key(options, data)
    except NotVouched as error:
        say(f"add-null: The null is not verified and was not added. {error}")
        return 1
    settings = load_settings()
    with operators_database(settings.database.url) as database:
        try:
            row = nulls.add(
                database, S3Store(settings.storage), data, account=account(), signing_key_sha256=key_id
            )
        except StorageError as error:
            say(f"add-null: {error}")
            return 1
    say(f"Scans that it fits are judged by '{row.name}', of {row.num_models} models, from now on.")
    if key_id is None:
        say("No signature was checked. With --key, only a null that this key signed is added.")
    else:
        say(f"The key {key_id} vouches for it.")
    sys.stdout.write(f"{row.id}\n")
    return 0


def _signing_key(options: argparse.Namespace, data: bytes) -> str | None:
    """The id of the key that signed the null; None where no key was given. Raises NotVouched."""
    if options.key is None:
        if options.signature is not None:
            raise NotVouched("--signature needs --key, the public key of whoever signed the null.")
        return None
    return check(options.file, data, key_file=options.key, signature_file=options.signature).key_sha256


def _run_remove(options: argparse.Namespace) -> int:
    settings = load_settings()
    with operators_database(settings.database.url) as database:
        try:
            nulls.remove(database, S3Store(settings.storage), options.null)
        except StorageError as error:
            say(f"remove-null: the row is gone; its object is not yet: {error}")
            return 1
    say("No scan is judged by it any more.")
    return 0


def _run_list(options: argparse.Namespace) -> int:
    with operators_database() as database, database.unit_of_work() as unit:
        rows = unit.nulls.all()
        for row in rows:
            values = [getattr(row, name) for name in _SHOWN]
            values[_SHOWN.index("sha256")] = row.facts["sha256"]
            print_row(values, _SHOWN, options)
    return 0


def add_nulls(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Their commands."""
    parser = commands.add_parser("add-null", help="keep a null that scans are judged by, for every project")
    parser.add_argument("file", metavar="FILE", type=Path, help="made by `python -m sanitizer null build`")
    parser.add_argument(
        "--key", metavar="PUB.pem", type=Path, help="refuse the null unless this public key signed it"
    )
    parser.add_argument(
        "--signature", metavar="FILE", type=Path, help="its signature (default: FILE.sig beside it)"
    )
    parser.set_defaults(run=_run_add)

    parser = commands.add_parser("remove-null", help="judge no scan by this null any more")
    parser.add_argument("null", metavar="NULL", help="its id")
    parser.set_defaults(run=_run_remove)

    parser = commands.add_parser("nulls", help="list the nulls, newest first")
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    parser.set_defaults(run=_run_list)
