"""How the command gets at the database: its schema, its rows, and who is at work."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command as alembic
from alembic.config import Config as AlembicConfig

from app.db.roles import Role
from app.db.session import Database, build_engine
from app.settings import load_settings

ROOT = Path(__file__).resolve().parents[2]


def migrate(database_url: str, revision: str = "head") -> None:
    """Bring the schema to `revision`. Safe while the service runs and when run twice."""
    config = AlembicConfig(str(ROOT / "alembic.ini"))
    config.set_main_option("script_location", str(ROOT / "migrations"))
    config.attributes["database_url"] = database_url
    alembic.upgrade(config, revision)


@contextmanager
def operators_database(url: str | None = None) -> Iterator[Database]:
    """In the operators' role, closed at the end; None: the one of the settings."""
    if url is None:
        url = load_settings().database.url
    database = Database(build_engine(url, role=Role.OPERATOR))
    try:
        yield database
    finally:
        database.dispose()


def account() -> str:
    """Who works here, for the trail."""
    return f"{getpass.getuser()}@{socket.gethostname()}"
