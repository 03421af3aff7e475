"""`serve`: everything on this machine."""

from __future__ import annotations

import argparse
from pathlib import Path

from app.cli.access import ROOT, account, migrate, operators_database
from app.cli.output import say
from app.db.session import Database
from app.domain.errors import Unauthorized
from app.local.serve import Access, ServeOptions, serve
from app.services import api_keys, operators
from app.settings import Settings, load_settings


def _run_serve(options: argparse.Namespace) -> int:
    folder: Path = options.folder.resolve()

    def prepare(settings: Settings) -> Access:
        migrate(settings.database.url)
        with operators_database(settings.database.url) as database:
            key = _kept_key(database, folder / "key")
            token = operators.sign_in_link(database, key, lasts_s=settings.web.link_s)
        return Access(key=key, sign_in_path=f"/ui/sign-in/once?token={token}")

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
            account=account(),
        )
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)
        path.write_text(text + "\n", encoding="ascii")
    return text


def add_serve(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Its command."""
    parser = commands.add_parser("serve", help="run everything on this machine")
    parser.add_argument(
        "--folder", type=Path, default=Path("var/serve"), help="folder for all data (default: %(default)s)"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=0, help="0: any free port (default)")
    parser.add_argument("--no-worker", action="store_true", help="start the API only; jobs wait")
    parser.add_argument("--ready-file", type=Path, help="write a JSON object here once everything answers")
    parser.add_argument("--until-stdin-closes", action="store_true", help="also stop at the end of stdin")
    parser.set_defaults(run=_run_serve)
