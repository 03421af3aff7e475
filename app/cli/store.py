"""The object store: its one bucket."""

from __future__ import annotations

import argparse
import time

from app.cli.output import say
from app.settings import load_settings
from app.storage.errors import StorageError
from app.storage.s3 import S3Store

_PATIENCE_S = 60.0
_PAUSE_S = 2.0


def _run_make_bucket(_options: argparse.Namespace) -> int:
    store = S3Store(load_settings().storage)
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            store.ensure_bucket()
        except StorageError as error:
            if not error.retryable or time.monotonic() > deadline:
                say(f"make-bucket: {error}")
                return 1
            time.sleep(_PAUSE_S)
        else:
            say(f"The bucket {store.bucket} exists.")
            return 0


def add_store(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Its command."""
    parser = commands.add_parser("make-bucket", help="create the service's bucket if it does not exist")
    parser.set_defaults(run=_run_make_bucket)
