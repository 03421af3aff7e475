"""Runs migrations: one transaction for all of them, one migrator at a time, no long wait for a lock.

The database is, in this order: `config.attributes["database_url"]` (set by a program), `-x url=…`, the
service's settings.
"""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection, text

from app.db.schema import metadata
from app.db.session import build_engine
from app.settings import load_settings

_LOCK = 7_263_001  # any number that nobody else uses as an advisory lock


def _url() -> str:
    given: str | None = context.config.attributes.get("database_url")
    return given or context.get_x_argument(as_dictionary=True).get("url") or load_settings().database.url


def _migrate(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=metadata, compare_server_default=True)
    with context.begin_transaction():
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text("SET LOCAL lock_timeout = '60s'"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        connection.execute(text("SET LOCAL lock_timeout = '1s'"))
        context.run_migrations()


if context.is_offline_mode():
    context.configure(url=_url(), target_metadata=metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
else:
    engine = build_engine(_url())
    with engine.connect() as connection:
        _migrate(connection)
    engine.dispose()
