"""Projects and keys of any project."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from app.cli.access import account, operators_database
from app.cli.output import print_row, say
from app.db.models.project import ApiKey
from app.services import api_keys, operators


def _run_create_key(options: argparse.Namespace) -> int:
    expires_at = None
    if options.expires_days is not None:
        expires_at = datetime.now(UTC) + timedelta(days=options.expires_days)
    with operators_database() as database:
        key, text = operators.create_key(
            database,
            project=options.project,
            name=options.name,
            scopes=options.scopes,
            expires_at=expires_at,
            account=account(),
        )
    _show_issued(options, key, text)
    return 0


def _show_issued(options: argparse.Namespace, key: ApiKey, text: str) -> None:
    if options.json:
        document = {"project_id": key.project_id, "key_id": key.id, "key": text}
        sys.stdout.write(json.dumps(document) + "\n")
    else:
        say(f"Key {key.id} of project {key.project_id}. It is shown only once:")
        sys.stdout.write(text + "\n")


def _run_rotate_key(options: argparse.Namespace) -> int:
    overlap_s = 3600 * options.overlap_hours
    with operators_database() as database:
        key, text = operators.rotate_key(database, options.key, overlap_s=overlap_s, account=account())
    _show_issued(options, key, text)
    return 0


def _run_revoke_key(options: argparse.Namespace) -> int:
    with operators_database() as database:
        operators.revoke_key(database, options.key, account=account())
    say(f"{options.key} is revoked.")
    return 0


def _run_keys(options: argparse.Namespace) -> int:
    with operators_database() as database:
        rows = operators.keys(database, options.project)
    for row in rows:
        fields = (row.id, ",".join(row.scopes), row.expires_at, row.revoked_at, row.last_used_at, row.name)
        print_row(fields, ("key_id", "scopes", "expires_at", "revoked_at", "last_used_at", "name"), options)
    return 0


def _run_projects(options: argparse.Namespace) -> int:
    with operators_database() as database:
        if options.create is not None:
            rows = [operators.create_project(database, options.create, account=account())]
        else:
            rows = list(operators.projects(database))
    for row in rows:
        print_row((row.id, row.created_at, row.name), ("project_id", "created_at", "name"), options)
    return 0


def _scopes(text: str) -> list[str]:
    return [scope.strip() for scope in text.split(",") if scope.strip()]


def _number(most: float) -> Callable[[str], float]:
    """Reads a number from 0 to `most`."""

    def number(text: str) -> float:
        value = float(text)
        if not 0 <= value <= most:  # false for nan, too
            raise argparse.ArgumentTypeError(f"a number from 0 to {most:g}")
        return value

    return number


def add_keys(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Their commands."""
    parser = commands.add_parser("create-key", help="create an API key, and its project if it does not exist")
    parser.add_argument("--project", required=True, metavar="NAME", help="whose")
    parser.add_argument("--name", default="created on the command line", help="its name in lists")
    parser.add_argument(
        "--scopes",
        type=_scopes,
        default=list(api_keys.SCOPES),
        metavar="A,B,…",
        help="what it may do (default: everything)",
    )
    parser.add_argument(
        "--expires-days", type=_number(3650), metavar="DAYS", help="from now (default: never)"
    )
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(run=_run_create_key)

    parser = commands.add_parser("projects", help="list the projects, or create one")
    parser.add_argument("--create", metavar="NAME", help="create this project")
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    parser.set_defaults(run=_run_projects)

    parser = commands.add_parser("keys", help="list the keys of a project")
    parser.add_argument("--project", required=True, metavar="NAME", help="whose")
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    parser.set_defaults(run=_run_keys)

    parser = commands.add_parser("rotate-key", help="replace a key; the old one stays valid for a while")
    parser.add_argument("key", metavar="KEY")
    parser.add_argument(
        "--overlap-hours",
        type=_number(720),
        default=24.0,
        metavar="HOURS",
        help="how long the old one stays valid (default: %(default)g)",
    )
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(run=_run_rotate_key)

    parser = commands.add_parser("revoke-key", help="revoke a key, even the last one of a project")
    parser.add_argument("key", metavar="KEY")
    parser.set_defaults(run=_run_revoke_key)
