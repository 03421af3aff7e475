"""What the command says: results to stdout, sentences for people to stderr."""

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import datetime


def say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def print_row(values: Sequence[object], names: Sequence[str], options: argparse.Namespace) -> None:
    """One line a row: tab-separated, or with --json an object."""
    reported = [value.isoformat() if isinstance(value, datetime) else value for value in values]
    if options.json:
        sys.stdout.write(json.dumps(dict(zip(names, reported, strict=True))) + "\n")
    else:
        shown = ("-" if value is None else str(value) for value in reported)
        sys.stdout.write("\t".join(text if text.isprintable() else repr(text) for text in shown) + "\n")
