"""Runs migrations beside a running service: one migrator at a time, no lock that others wait for a second.

Each migration is a transaction of its own, so that its locks are let go when it is done. Whatever has to wait
for a lock gives up after half a second, lets the requests through that queued up behind it, and tries again.
The database is, in this order: `config.attributes["database_url"]` (set by a program), `-x url=…`, the
service's settings.
"""

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager

from alembic import context
from psycopg.errors import DeadlockDetected, LockNotAvailable
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError

from app.db.online import LOCK_TIMEOUT
from app.db.schema import metadata
from app.db.session import build_engine
from app.settings import load_settings

_LOCK = 7_263_001  # any number that nobody else uses as an advisory lock
_WAIT_FOR_OTHERS_S = 600.0
_LOOK_EVERY_S = 0.1
_MAX_TRIES = 60
_PAUSE_S = 1.0


def _url() -> str:
    given: str | None = context.config.attributes.get("database_url")
    return given or context.get_x_argument(as_dictionary=True).get("url") or load_settings().database.url


@contextmanager
def _alone(engine: Engine) -> Iterator[None]:
    """Hold the migrators' lock. On a connection of its own, in no transaction: one that waits inside a
    transaction holds a snapshot, and an index that is built concurrently would wait for it in turn."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        deadline = time.monotonic() + _WAIT_FOR_OTHERS_S
        while not connection.scalar(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": _LOCK}):
            if time.monotonic() > deadline:
                raise TimeoutError(f"another migration still runs after {_WAIT_FOR_OTHERS_S:g} s")
            time.sleep(_LOOK_EVERY_S)
        yield  # the lock goes with the connection


def _migrate(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        compare_server_default=True,
        transaction_per_migration=True,
    )
    connection.execute(text("SET application_name = 'cleanclip-migration'"))
    connection.execute(text("SET timezone = 'UTC'"))
    connection.execute(text("SET statement_timeout = 0"))
    connection.execute(text(f"SET lock_timeout = '{LOCK_TIMEOUT}'"))
    connection.commit()
    for left in reversed(range(_MAX_TRIES)):
        try:
            with context.begin_transaction():
                context.run_migrations()
        except OperationalError as error:
            if left == 0 or not isinstance(error.orig, LockNotAvailable | DeadlockDetected):
                raise
            connection.rollback()
            time.sleep(_PAUSE_S * random.uniform(0.5, 1.5))  # noqa: S311 - not in step with a regular writer
        else:
            return


if context.is_offline_mode():
    context.configure(url=_url(), target_metadata=metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
else:
    engine = build_engine(_url())
    with _alone(engine), engine.connect() as connection:
        _migrate(connection)
    engine.dispose()
