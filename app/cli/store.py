"""The object store: its one bucket."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from app.cli.output import say
from app.settings import load_settings
from app.storage.errors import StorageError
from app.storage.s3 import S3Store

_PATIENCE_S = 60.0
_PAUSE_S = 2.0


def _run_make_bucket(options: argparse.Namespace) -> int:
    store = S3Store(load_settings().storage)
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            store.ensure_bucket()
            if options.policy is not None:
                store.set_policy(options.policy.read_text())
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
    parser.add_argument("--policy", metavar="FILE", type=Path, help="give the bucket this policy")
    parser.set_defaults(run=_run_make_bucket)
