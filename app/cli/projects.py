"""Quotas, deletions with their receipts, and the trail of any project."""

from __future__ import annotations

import argparse
import sys

from app.cli.access import account, operators_database
from app.cli.output import print_row, say
from app.domain.quotas import QuotaName
from app.services import operators
from app.settings import load_settings


def _run_set_quota(options: argparse.Namespace) -> int:
    settings = load_settings()
    given = {name: getattr(options, name.value) for name in QuotaName}
    limits = {name: None if text == "default" else int(text) for name, text in given.items() if text}
    with operators_database(settings.database.url) as database:
        held = operators.set_quota(
            database, options.project, limits, defaults=settings.quotas, account=account()
        )
    for name in QuotaName:
        print_row((name.value, getattr(held, name.value)), ("quota", "limit"), options)
    return 0


def _run_delete_project(options: argparse.Namespace) -> int:
    if not options.yes:
        say(f"This deletes everything of project {options.project}, for good. Say --yes.")
        return 1
    with operators_database() as database:
        deletion = operators.delete_project(database, options.project, account=account())
    say("Its keys are gone. The sweeper removes the rest; `deletion` shows the receipt.")
    sys.stdout.write(f"{deletion.id}\n")
    return 0


_RECEIPT = ("id", "subject", "subject_id", "requested_at", "num_objects", "num_bytes", "finished_at")
_TRAIL = (
    *("id", "created_at", "outcome", "action", "target_id"),
    *("key_id", "actor", "reason", "request_id", "remote_addr"),
)


def _run_deletion(options: argparse.Namespace) -> int:
    with operators_database() as database:
        row = operators.deletion(database, options.deletion)
    print_row([getattr(row, name) for name in _RECEIPT], _RECEIPT, options)
    return 0


def _run_deletions(options: argparse.Namespace) -> int:
    with operators_database() as database:
        rows = operators.deletions(database, options.project, after=options.after, limit=options.limit)
    for row in rows:
        print_row([getattr(row, name) for name in _RECEIPT], _RECEIPT, options)
    return 0


def _run_trail(options: argparse.Namespace) -> int:
    with operators_database() as database:
        rows = operators.trail(
            database, options.project, after=options.after, limit=options.limit, action=options.action
        )
    for row in rows:
        print_row([getattr(row, name) for name in _TRAIL], _TRAIL, options)
    return 0


def _limit(text: str) -> str:
    if text != "default" and not text.isdecimal():
        raise argparse.ArgumentTypeError("a whole number, or 'default'")
    return text


def add_project_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Their commands."""
    parser = commands.add_parser(
        "set-quota", help="set the limits of one project; 'default' takes the settings' values"
    )
    parser.add_argument("--project", required=True, metavar="NAME", help="whose")
    for name in QuotaName:
        parser.add_argument(
            f"--{name.value.replace('_', '-')}", metavar="N", type=_limit, help="a number, or default"
        )
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    parser.set_defaults(run=_run_set_quota)

    parser = commands.add_parser("delete-project", help="delete everything of a project, for good")
    parser.add_argument("project", metavar="NAME")
    parser.add_argument("--yes", action="store_true", help="confirm the deletion")
    parser.set_defaults(run=_run_delete_project)

    parser = commands.add_parser("deletion", help="the state of a deletion, and its receipt")
    parser.add_argument("deletion", metavar="DELETION")
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(run=_run_deletion)

    for command, run, text in (
        ("deletions", _run_deletions, "list receipts of a project and deletions in progress, newest first"),
        ("trail", _run_trail, "list the trail of a project, newest first"),
    ):
        parser = commands.add_parser(command, help=f"{text}; deleted projects by their id, too")
        parser.add_argument("--project", required=True, metavar="NAME|ID", help="whose")
        parser.add_argument("--limit", type=int, default=100, metavar="N", help="rows (default: %(default)s)")
        parser.add_argument("--after", metavar="ID", help="continue after this row")
        parser.add_argument("--json", action="store_true", help="one JSON object per line")
        parser.set_defaults(run=run)
    parser.add_argument(
        "--action", metavar="NOUN.VERB", help="only rows with this action, for example key.create"
    )
