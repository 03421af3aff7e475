"""Every transaction of a process runs in its role, or not at all: asked for in the transaction and looked at.

`SET LOCAL ROLE`, by the statement that every transaction begins with, because a session is nobody's own where
a pooler (PgBouncer) stands between: it hands out its connections by the transaction, and keeps from the
startup packet what it likes. That statement also answers with the role that holds now. A connection's first
transaction asks more: a login or a role that is a superuser's, or looks past row-level security, is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NoReturn

from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DBAPIError

from app.db.roles import Role
from app.domain.errors import Unavailable
from app.logs import get_logger

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
