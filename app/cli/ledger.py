"""`ledger`: are all promises kept?"""

from __future__ import annotations

import argparse
import sys

from app.cli.output import say
from app.ledger.check import LedgerUnreadable, check
from app.settings import load_settings

_DAY_S = 86_400.0


def _run_ledger(options: argparse.Namespace) -> int:
    try:
        ledger = check(load_settings(), grace_s=options.grace_s, failed_grace_s=options.failed_grace_s)
    except LedgerUnreadable as error:
        say(f"The ledger could not be read: {error}")
        return 2
    sys.stdout.write("".join(f"{line}\n" for line in (*ledger.violations, ledger.summary)))
    return 1 if ledger.violations else 0


def add_ledger(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Its command."""
    parser = commands.add_parser(
        "ledger",
        help="check that rows and objects are consistent; exit code 1: a rule is broken, 2: not read",
    )
    parser.add_argument("--grace-s", type=float, default=900.0, help="how long leftovers may stay")
    parser.add_argument("--failed-grace-s", type=float, default=7 * _DAY_S, help="the same for failed jobs")
    parser.set_defaults(run=_run_ledger)
