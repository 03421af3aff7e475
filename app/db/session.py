"""Engine and transactions: one unit of work is one transaction, committed once.

Driver errors end here: what the database cannot do now becomes `Unavailable`; everything else is a bug
and passes through.

Every transaction of a process runs in its role, or not at all: asked for in the transaction and looked at.

`SET LOCAL ROLE`, by the statement that every transaction begins with, because a session is nobody's own where
a pooler (PgBouncer) stands between: it hands out its connections by the transaction, and keeps from the
startup packet what it likes. That statement also answers with the role that holds now. A connection's first
transaction asks more: a login or a role that is a superuser's, or looks past row-level security, is refused.
"""

import json
import math
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn

from pydantic_core import from_json
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    InterfaceError,
    InternalError,
    InvalidatePoolError,
    OperationalError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import sessionmaker

from app.db.roles import KEY_SETTING, PROJECT_SETTING, SESSION_SETTING, Role
from app.db.unit_of_work import UnitOfWork
from app.domain.errors import Unavailable
from app.logs import get_logger

STATEMENT_TIMEOUT_S = 15.0
LOCK_TIMEOUT_MS = 5_000
IDLE_IN_TRANSACTION_TIMEOUT_MS = 60_000
_WRITES = (
    "SELECT pg_logical_emit_message(true, 'cleanclip.readiness', ''), count(*) FROM generate_series(1, 20000)"
)
_NOT_STORABLE = re.compile("[\x00\ud800-\udfff]")


def build_engine(
    url: str,
    *,
    role: Role | None = None,
    pool_size: int = 5,
    max_overflow: int = 10,
    ping_after_idle_s: float = 0.0,
    statement_timeout_s: float = STATEMENT_TIMEOUT_S,
) -> Engine:
    """An engine on psycopg 3 for `postgresql://…`, with bounded waits everywhere; connects lazily.

    Every transaction takes on `role` (see `take_on`): the login's own rights never count, and a login
    or a role that is a superuser's or looks past row-level security is refused. None, as the login itself, is
    for migrations, which choose their timeouts. A connection that lay idle for `ping_after_idle_s` is pinged
    before it is used again, and replaced where the server is gone; 0: before every use.
    """
    target = make_url(url)
    if target.drivername in {"postgresql", "postgres"}:
        target = target.set(drivername="postgresql+psycopg")
    engine = create_engine(
        target,
        pool_size=pool_size,
        max_overflow=max_overflow,
        pool_timeout=10,
        pool_pre_ping=ping_after_idle_s == 0,
        json_serializer=storable_json,
        json_deserializer=_stored_json,
        hide_parameters=True,  # a statement that fails is logged without the customer's values
        # Nothing in the startup packet's `options`: a pooler refuses it, or drops it without a word.
        connect_args={"connect_timeout": 5, "tcp_user_timeout": 15_000, "application_name": "cleanclip"},
    )
    if role is not None:
        take_on(
            engine,
            role,
            {
                "timezone": "UTC",
                "statement_timeout": str(round(1000 * statement_timeout_s)),
                "lock_timeout": str(LOCK_TIMEOUT_MS),
                "idle_in_transaction_session_timeout": str(IDLE_IN_TRANSACTION_TIMEOUT_MS),
            },
        )
    if ping_after_idle_s > 0:
        _ping_after_idling(engine, ping_after_idle_s)
    return engine


def shown_url(url: str) -> str:
    """Host, port and database, for people. Raises Unavailable for what is not a database's address."""
    try:
        target = make_url(url)
    except ArgumentError as error:
        raise Unavailable(
            "database_unavailable",
            "CLEANCLIP_DATABASE__URL is not the address of a database.",
            "Set it to postgresql://USER:PASSWORD@HOST:PORT/DATABASE.",
        ) from error
    return f"{target.host or 'this machine'}:{target.port or 5432}/{target.database or ''}"


def _ping_after_idling(engine: Engine, idle_s: float) -> None:
    """A ping is a round trip: worth it for a connection that lay idle, not for one used a moment ago."""

    @event.listens_for(engine, "checkin")
    def note(_connection: Any, record: Any) -> None:
        record.info["idle_since_s"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def check(connection: Any, record: Any, _proxy: Any) -> None:
        idle_since_s = record.info.get("idle_since_s")
        if idle_since_s is None or time.monotonic() - idle_since_s < idle_s:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise InvalidatePoolError from error  # the pool connects again, and does not trust its others


def storable_json(value: Any) -> str:
    """JSON that jsonb takes, whatever a file or a model put into it.

    jsonb knows no NUL, no half of a surrogate pair and no NaN; refusing the whole row for one of them would
    let an untrusted file name stop a job from being recorded.
    """
    return json.dumps(_storable(value), allow_nan=False)


def _stored_json(text: bytes | str) -> Any:
    try:
        return from_json(text)  # twice as fast as the standard library
    except ValueError:
        return json.loads(text)  # of more than 200 levels


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return _NOT_STORABLE.sub("\ufffd", value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {_storable(str(key)): _storable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(item) for item in value]
    return value


class Database:
    """Hands out units of work on one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._sessions = sessionmaker(engine, expire_on_commit=False)

    @contextmanager
    def unit_of_work(
        self,
        project_id: str | None = None,
        *,
        key_sha256: str | None = None,
        session_sha256: str | None = None,
    ) -> Iterator[UnitOfWork]:
        """One transaction: committed on a clean exit, rolled back on any error.

        In the API's role it sees the rows of that project, or, to recognise a caller, the key or the
        browser's session with that digest; without any of them, nothing. The other roles see all projects and
        name none.
        Raises Unavailable where the database does not answer, is restarting, or a lock is not had in time.
        """
        try:
            with self._sessions.begin() as session:
                named = {
                    PROJECT_SETTING: project_id,
                    KEY_SETTING: key_sha256,
                    SESSION_SETTING: session_sha256,
                }
                if settings := {name: value for name, value in named.items() if value is not None}:
                    session.connection(execution_options={SETTINGS: settings})
                yield UnitOfWork(session)
        except (OperationalError, InterfaceError, PoolTimeoutError) as error:
            raise _unavailable() from error

    @contextmanager
    def exclusively(self, lock: int) -> Iterator[bool]:
        """Hold the advisory lock of that number for the block; yields False where another holds it.

        The lock belongs to a transaction that does nothing else and holds no snapshot: a pooler keeps a
        connection for that long only. A process that dies lets go of it.
        """
        try:
            with self._engine.begin() as connection:
                connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
                yield bool(connection.scalar(text("SELECT pg_try_advisory_xact_lock(:lock)"), {"lock": lock}))
        except (OperationalError, InterfaceError, PoolTimeoutError) as error:
            raise _unavailable() from error

    def ping(self) -> None:
        """Raise Unavailable unless the database answers."""
        try:
            with self._engine.connect() as connection:
                connection.execute(text("SELECT 1"))
        except (OperationalError, InterfaceError, PoolTimeoutError) as error:
            raise _unavailable() from error

    def check_writes(self) -> None:
        """Raise Unavailable unless the database can write: its log to the disk, and a file that grows.

        One whose disk is full answers questions for a long while, and takes rows that fit into pages it has.
        So a record goes to the write-ahead log, flushed by the commit, and a list too long for the memory it
        is given goes to a temporary file. No row is touched; no table and no right of a role is needed.
        """
        try:
            with self._engine.begin() as connection:
                connection.execute(text("SET LOCAL work_mem = '64kB'"))
                connection.execute(text(_WRITES))
        except (OperationalError, InterfaceError, InternalError, PoolTimeoutError) as error:
            raise _unavailable() from error

    def dispose(self) -> None:
        """Close all pooled connections."""
        self._engine.dispose()


def _unavailable() -> Unavailable:
    return Unavailable(
        "database_unavailable",
        "The database does not answer.",
        "Try again in a few seconds.",
        retry_after_s=5,
    )


SETTINGS = "cleanclip_settings"
"""Of a connection's execution options: more settings of its next transaction, by name."""
_CHECKED = "cleanclip_login_checked"
_ROLE_MISSING = re.compile(r'role "cleanclip_\w+" does not exist|permission denied to set role')
_SET = "set_config(%s, %s, true)"
_ABOVE_RULES = (
    "(SELECT string_agg(rolname, ', ') FROM pg_roles"
    " WHERE rolname IN (session_user, current_user) AND (rolsuper OR rolbypassrls))"
)
_RETRY_AFTER_S = 30
_LOG = get_logger(__name__)


def take_on(engine: Engine, role: Role, settings: Mapping[str, str]) -> None:
    """From now on each transaction of `engine` begins in `role`, with these settings for itself alone.

    A transaction raises Unavailable where the role cannot be had, or where nothing would bind it.
    """

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        if connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT":
            raise RuntimeError("a role is taken on for a transaction, and this connection would have none")
        values = {**settings, **connection.get_execution_options().get(SETTINGS, {}), "role": role.value}
        is_checked = connection.info.get(_CHECKED, False)
        columns = [_SET] * len(values) + ["current_user"] + ([] if is_checked else [_ABOVE_RULES])
        parameters = tuple(text for item in values.items() for text in item)
        try:
            answer = connection.exec_driver_sql(f"SELECT {', '.join(columns)}", parameters).one()
        except DBAPIError as error:
            if _ROLE_MISSING.search(str(error.orig)):
                _refuse_missing(role, error)
            raise
        if answer[len(values)] != role:
            _refuse(role, f"it works as {answer[len(values)]}")
        if not is_checked:
            if above := answer[-1]:
                _refuse(role, f"of {above}, who is above row-level security")
            connection.info[_CHECKED] = True


def _refuse_missing(role: Role, error: Exception) -> NoReturn:
    raise Unavailable(
        "database_unavailable",
        "The database lacks the role that this process runs as, or its login may not take it on.",
        "Run `python -m app.cli migrate` with a login that may create roles.",
        retry_after_s=_RETRY_AFTER_S,
    ) from error


def _refuse(role: Role, reason: str) -> NoReturn:
    _LOG.error("database_login_refused", role=role.value, reason=reason)
    raise Unavailable(
        "database_unavailable",
        f"The service refuses its login to the database: {reason}.",
        "Give each process a login that is a member of its one role: docs/how-to/operating/deployment.md.",
        retry_after_s=_RETRY_AFTER_S,
    )
