"""For operators, on the machine itself: schema, projects, keys, stuck jobs, everything on one machine.

    python -m app.cli migrate | projects | create-key | keys | rotate-key | revoke-key | set-quota |
        delete-project | deletion | deletions | audit | requeue | serve

Results go to stdout, everything else to stderr. Exit codes: 0 done, 1 refused (the sentence says why),
2 wrong usage. `serve` runs everything on this machine, with PostgreSQL, Valkey and SeaweedFS from wheels.
"""

from __future__ import annotations

import argparse
import getpass
import json
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from alembic import command as alembic
from alembic.config import Config as AlembicConfig
from alembic.util import CommandError

from app.db.models.api_key import ApiKey
from app.db.roles import Role
from app.db.session import Database, build_engine
from app.domain.errors import DomainError, Unauthorized
from app.domain.quotas import QuotaName
from app.local.processes import CannotStart
from app.local.serve import ServeOptions, serve
from app.services import api_keys, operators
from app.settings import Settings, load_settings

ROOT = Path(__file__).resolve().parent.parent


def say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except (DomainError, CannotStart, CommandError) as error:
        say(f"{options.command}: {error}")
        return 1


# ---------------------------------------------------------------- schema, projects, keys, jobs


def migrate(database_url: str, revision: str = "head") -> None:
    """Bring the schema to `revision`. Safe while the service runs and when run twice."""
    config = AlembicConfig(str(ROOT / "alembic.ini"))
    config.set_main_option("script_location", str(ROOT / "migrations"))
    config.attributes["database_url"] = database_url
    alembic.upgrade(config, revision)


def _run_migrate(options: argparse.Namespace) -> int:
    migrate(load_settings().database.url, options.revision)
    say("The schema is up to date.")
    return 0


def _run_create_key(options: argparse.Namespace) -> int:
    expires_at = None
    if options.expires_days is not None:
        expires_at = datetime.now(UTC) + timedelta(days=options.expires_days)
    with _database(load_settings().database.url) as database:
        key, text = operators.create_key(
            database,
            project=options.project,
            name=options.name,
            scopes=options.scopes,
            expires_at=expires_at,
            account=_account(),
        )
    _show_issued(options, key, text)
    return 0


def _show_issued(options: argparse.Namespace, key: ApiKey, text: str) -> None:
    if options.json:
        document = {"project_id": key.project_id, "key_id": key.id, "key": text}
        sys.stdout.write(json.dumps(document) + "\n")
    else:
        say(f"Key {key.id} of project {key.project_id}. It is shown this once:")
        sys.stdout.write(text + "\n")


def _run_rotate_key(options: argparse.Namespace) -> int:
    overlap_s = 3600 * options.overlap_hours
    with _database(load_settings().database.url) as database:
        key, text = operators.rotate_key(database, options.key, overlap_s=overlap_s, account=_account())
    _show_issued(options, key, text)
    return 0


def _run_revoke_key(options: argparse.Namespace) -> int:
    with _database(load_settings().database.url) as database:
        operators.revoke_key(database, options.key, account=_account())
    say(f"{options.key} is revoked.")
    return 0


def _run_keys(options: argparse.Namespace) -> int:
    with _database(load_settings().database.url) as database:
        rows = operators.keys(database, options.project)
    for row in rows:
        fields = (row.id, ",".join(row.scopes), row.expires_at, row.revoked_at, row.last_used_at, row.name)
        _print_row(fields, ("key_id", "scopes", "expires_at", "revoked_at", "last_used_at", "name"), options)
    return 0


def _run_projects(options: argparse.Namespace) -> int:
    with _database(load_settings().database.url) as database:
        if options.create is not None:
            rows = [operators.create_project(database, options.create, account=_account())]
        else:
            rows = list(operators.projects(database))
    for row in rows:
        _print_row((row.id, row.created_at, row.name), ("project_id", "created_at", "name"), options)
    return 0


def _print_row(values: Sequence[object], names: Sequence[str], options: argparse.Namespace) -> None:
    """One line a row: tab-separated, or with --json an object."""
    told = [value.isoformat() if isinstance(value, datetime) else value for value in values]
    if options.json:
        sys.stdout.write(json.dumps(dict(zip(names, told, strict=True))) + "\n")
    else:
        shown = ("-" if value is None else str(value) for value in told)
        sys.stdout.write("\t".join(text if text.isprintable() else repr(text) for text in shown) + "\n")


def _account() -> str:
    """Who works here, for the audit trail."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


def _run_set_quota(options: argparse.Namespace) -> int:
    settings = load_settings()
    given = {name: getattr(options, name.value) for name in QuotaName}
    limits = {name: None if text == "default" else int(text) for name, text in given.items() if text}
    with _database(settings.database.url) as database:
        held = operators.set_quota(
            database, options.project, limits, defaults=settings.quotas, account=_account()
        )
    for name in QuotaName:
        _print_row((name.value, getattr(held, name.value)), ("quota", "limit"), options)
    return 0


def _run_delete_project(options: argparse.Namespace) -> int:
    if not options.yes:
        say(f"This deletes everything of project {options.project}, for good. Say --yes.")
        return 1
    with _database(load_settings().database.url) as database:
        deletion = operators.delete_project(database, options.project, account=_account())
    say("Its keys are gone. The sweeper takes away the rest; `deletion` shows the receipt.")
    sys.stdout.write(f"{deletion.id}\n")
    return 0


_RECEIPT = ("id", "subject", "subject_id", "requested_at", "num_objects", "num_bytes", "finished_at")
_TRAIL = (
    *("id", "created_at", "outcome", "action", "target_id"),
    *("key_id", "actor", "reason", "request_id", "remote_addr"),
)


def _run_deletion(options: argparse.Namespace) -> int:
    with _database(load_settings().database.url) as database:
        row = operators.deletion(database, options.deletion)
    _print_row([getattr(row, name) for name in _RECEIPT], _RECEIPT, options)
    return 0


def _run_deletions(options: argparse.Namespace) -> int:
    with _database(load_settings().database.url) as database:
        rows = operators.deletions(database, options.project, after=options.after, limit=options.limit)
    for row in rows:
        _print_row([getattr(row, name) for name in _RECEIPT], _RECEIPT, options)
    return 0


def _run_audit(options: argparse.Namespace) -> int:
    with _database(load_settings().database.url) as database:
        rows = operators.trail(
            database, options.project, after=options.after, limit=options.limit, action=options.action
        )
    for row in rows:
        _print_row([getattr(row, name) for name in _TRAIL], _TRAIL, options)
    return 0


def _run_requeue(options: argparse.Namespace) -> int:
    with _database(load_settings().database.url) as database:
        state = operators.requeue(database, options.job, account=_account())
    say(f"{options.job} is {state}.")
    return 0


@contextmanager
def _database(url: str) -> Iterator[Database]:
    database = Database(build_engine(url, role=Role.OPERATOR))
    try:
        yield database
    finally:
        database.dispose()


# ---------------------------------------------------------------- serve


def _run_serve(options: argparse.Namespace) -> int:
    folder: Path = options.folder.resolve()

    def prepare(settings: Settings) -> str:
        migrate(settings.database.url)
        with _database(settings.database.url) as database:
            return _kept_key(database, folder / "key")

    serve(
        ServeOptions(
            root=ROOT,
            folder=folder,
            host=options.host,
            port=options.port,
            stop_grace_s=load_settings().worker.stop_grace_s,
            with_worker=not options.no_worker,
            ready_file=options.ready_file,
            until_stdin_closes=options.until_stdin_closes,
        ),
        prepare=prepare,
        say=say,
    )
    return 0


def _kept_key(database: Database, path: Path) -> str:
    """The key that an earlier `serve` left in this file, if it is still valid; else a new one."""
    try:
        text = path.read_text(encoding="ascii").strip()
        with database.unit_of_work() as unit:
            api_keys.recognise(unit, api_keys.read_key(text), request_id="cli", remote_addr=None)
    except (OSError, UnicodeDecodeError, Unauthorized):
        _, text = operators.create_key(
            database,
            project="default",
            name="serve",
            scopes=api_keys.SCOPES,
            expires_at=None,
            account=_account(),
        )
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)
        path.write_text(text + "\n", encoding="ascii")
    return text


# ---------------------------------------------------------------- the command line


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


def _limit(text: str) -> str:
    if text != "default" and not text.isdecimal():
        raise argparse.ArgumentTypeError("a whole number, or 'default'")
    return text


def _add_shares(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    one = commands.add_parser("set-quota", help="limits of one project; 'default': as the settings say")
    one.add_argument("--project", required=True, metavar="NAME")
    for name in QuotaName:
        one.add_argument(f"--{name.value.replace('_', '-')}", metavar="N", type=_limit)
    one.add_argument("--json", action="store_true", help="one object a line")
    one.set_defaults(run=_run_set_quota)

    one = commands.add_parser("delete-project", help="everything of a project, for good")
    one.add_argument("project", metavar="NAME")
    one.add_argument("--yes", action="store_true")
    one.set_defaults(run=_run_delete_project)

    one = commands.add_parser("deletion", help="how a deletion stands: its receipt")
    one.add_argument("deletion", metavar="DELETION")
    one.add_argument("--json", action="store_true")
    one.set_defaults(run=_run_deletion)

    for command, run, text in (
        ("deletions", _run_deletions, "receipts of a project and what is under way, newest first"),
        ("audit", _run_audit, "the audit trail of a project, newest first"),
    ):
        one = commands.add_parser(command, help=f"{text}; deleted projects by their id, too")
        one.add_argument("--project", required=True, metavar="NAME|ID")
        one.add_argument("--limit", type=int, default=100, metavar="N", help="rows (default: %(default)s)")
        one.add_argument("--after", metavar="ID", help="go on after this row")
        one.add_argument("--json", action="store_true", help="one object a line")
        one.set_defaults(run=run)
    one.add_argument("--action", metavar="NOUN.VERB", help="only such rows, e.g. key.create")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m app.cli", description="Operate the CleanCLIP service.")
    commands = parser.add_subparsers(dest="command", required=True)

    one = commands.add_parser("migrate", help="bring the database schema up to date")
    one.add_argument("--revision", default="head")
    one.set_defaults(run=_run_migrate)

    one = commands.add_parser("create-key", help="make an API key, and its project if there is none")
    one.add_argument("--project", required=True, metavar="NAME")
    one.add_argument("--name", default="created on the command line")
    one.add_argument("--scopes", type=_scopes, default=list(api_keys.SCOPES), metavar="A,B,…")
    one.add_argument("--expires-days", type=_number(3650), metavar="DAYS")
    one.add_argument("--json", action="store_true")
    one.set_defaults(run=_run_create_key)

    one = commands.add_parser("projects", help="list the projects, or make one")
    one.add_argument("--create", metavar="NAME")
    one.add_argument("--json", action="store_true", help="one object a line")
    one.set_defaults(run=_run_projects)

    one = commands.add_parser("keys", help="list the keys of a project")
    one.add_argument("--project", required=True, metavar="NAME")
    one.add_argument("--json", action="store_true", help="one object a line")
    one.set_defaults(run=_run_keys)

    one = commands.add_parser("rotate-key", help="replace a key; the old one stays valid for a while")
    one.add_argument("key", metavar="KEY")
    one.add_argument("--overlap-hours", type=_number(720), default=24.0, metavar="HOURS")
    one.add_argument("--json", action="store_true")
    one.set_defaults(run=_run_rotate_key)

    one = commands.add_parser("revoke-key", help="stop a key, also the last one of a project")
    one.add_argument("key", metavar="KEY")
    one.set_defaults(run=_run_revoke_key)

    _add_shares(commands)

    one = commands.add_parser("requeue", help="queue a failed or paused job again")
    one.add_argument("job", metavar="JOB")
    one.set_defaults(run=_run_requeue)

    one = commands.add_parser("serve", help="run everything on this machine")
    one.add_argument("--folder", type=Path, default=Path("var/serve"), help="all data (default: %(default)s)")
    one.add_argument("--host", default="127.0.0.1")
    one.add_argument("--port", type=int, default=0, help="0: any free port (default)")
    one.add_argument("--no-worker", action="store_true", help="API only; jobs wait")
    one.add_argument("--ready-file", type=Path, help="write a JSON object here once everything answers")
    one.add_argument("--until-stdin-closes", action="store_true", help="stop also at the end of stdin")
    one.set_defaults(run=_run_serve)
    return parser


if __name__ == "__main__":
    sys.exit(main())
