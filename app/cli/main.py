"""The command: which there are, and how one ends. Each command is in the module of its noun."""

import argparse
from collections.abc import Sequence

from alembic.util import CommandError

from app.cli.access import account, migrate, operators_database
from app.cli.key_commands import add_keys
from app.cli.ledger import add_ledger
from app.cli.nulls import add_nulls
from app.cli.output import say
from app.cli.projects import add_project_commands
from app.cli.serving import add_serve
from app.cli.store import add_store
from app.cli.webhook_secrets import add_webhooks
from app.domain.errors import DomainError
from app.local.processes import CannotStart
from app.services import operators
from app.settings import load_settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = command_line().parse_args(arguments)
    try:
        return int(options.run(options))
    except (DomainError, CannotStart, CommandError) as error:
        say(f"{options.command}: {error}")
        return 1


def _run_migrate(options: argparse.Namespace) -> int:
    with operators_database(role=None) as database:
        database.ping()
    migrate(load_settings().database.url, options.revision)
    say("The schema is up to date.")
    return 0


def _run_requeue(options: argparse.Namespace) -> int:
    with operators_database() as database:
        state = operators.requeue(database, options.job, account=account())
    say(f"{options.job} is {state}.")
    return 0


def command_line() -> argparse.ArgumentParser:
    """All commands with their options."""
    parser = argparse.ArgumentParser(prog="python -m app.cli", description="Operate the CleanCLIP service.")
    commands = parser.add_subparsers(dest="command", required=True)

    migrate = commands.add_parser("migrate", help="bring the database schema up to date")
    migrate.add_argument("--revision", default="head", help="up to this one (default: the newest)")
    migrate.set_defaults(run=_run_migrate)

    add_keys(commands)
    add_project_commands(commands)
    add_webhooks(commands)
    add_ledger(commands)
    add_store(commands)
    add_nulls(commands)

    requeue = commands.add_parser("requeue", help="queue a failed or paused job again")
    requeue.add_argument("job", metavar="JOB")
    requeue.set_defaults(run=_run_requeue)

    add_serve(commands)
    return parser
