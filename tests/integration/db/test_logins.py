"""Logins: those above all rules are refused, one that may become one role only, one that makes none."""

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import text
from sqlalchemy.engine import URL, make_url

from app.db.roles import Role
from app.db.session import Database, build_engine
from app.domain.errors import Unavailable
from app.local.stack import Stack
from tests.fixtures import databases
from tests.fixtures.databases import plain

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def superuser(stack: Stack) -> URL:
    """The embedded server's own superuser."""
    if not any(server.name == "postgres" for server in stack.servers):
        pytest.skip("the server is not ours")
    return make_url(stack.settings().database.url).set(username="postgres")


@pytest.fixture
def own_database(superuser: URL) -> Iterator[URL]:
    """An empty database of the superuser's."""
    with databases.own_database(superuser, "own") as url:
        yield make_url(url)


@pytest.fixture
def login(superuser: URL) -> Iterator[str]:
    """An ordinary login that may take on the API's role and nothing else."""
    login = f"api_{secrets.token_hex(6)}"
    name = sql.Identifier(login)
    with psycopg.connect(plain(superuser), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(name))
        grant = sql.SQL("GRANT {} TO {} WITH INHERIT FALSE, SET TRUE")
        connection.execute(grant.format(sql.Identifier(Role.API), name))
        yield login
        connection.execute(sql.SQL("DROP ROLE {}").format(name))


@pytest.mark.parametrize("right", ["SUPERUSER", "BYPASSRLS"])
@pytest.mark.parametrize("whose", ["login", "role"])
def test_what_is_above_row_level_security_serves_nobody(
    superuser: URL, database_url: str, login: str, right: str, whose: str
) -> None:
    raised = sql.Identifier(login if whose == "login" else Role.API)
    url = make_url(database_url).set(username=login).render_as_string(hide_password=False)
    with psycopg.connect(plain(superuser), autocommit=True) as connection:
        connection.execute(sql.SQL("ALTER ROLE {} " + right).format(raised))
        try:
            served = Database(build_engine(url, role=Role.API))
            with pytest.raises(Unavailable, match="above row-level security"):
                served.ping()
            with pytest.raises(Unavailable, match="above row-level security"), served.unit_of_work() as unit:
                unit.projects.all()
        finally:
            connection.execute(sql.SQL("ALTER ROLE {} NO" + right).format(raised))
    served.ping()
    served.dispose()


def test_without_a_transaction_of_its_own_nothing_runs(database_url: str) -> None:
    """SET LOCAL would do nothing there, and the statement would run as the login."""
    engine = build_engine(database_url, role=Role.API)
    with (
        engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection,
        pytest.raises(RuntimeError, match="transaction"),
    ):
        connection.execute(text("SELECT 1"))
    engine.dispose()


def test_a_login_of_one_role_cannot_become_another(database_url: str, login: str) -> None:
    url = make_url(database_url).set(username=login).render_as_string(hide_password=False)
    served = Database(build_engine(url, role=Role.API))
    served.ping()
    served.dispose()
    for role in (Role.WORKER, Role.OPERATOR):
        other = Database(build_engine(url, role=role))
        with pytest.raises(Unavailable, match="may not take it on"):
            other.ping()
        other.dispose()
    nobody = Database(build_engine(url))
    with nobody.unit_of_work() as unit, pytest.raises(Exception, match="permission denied"):
        unit.projects.all()
    nobody.dispose()


def test_a_login_that_may_make_no_role_is_told_what_to_run_and_then_may_migrate(
    login: str, superuser: URL, own_database: URL
) -> None:
    with psycopg.connect(plain(superuser), autocommit=True) as connection:
        owner = sql.SQL("ALTER DATABASE {} OWNER TO {}")
        connection.execute(owner.format(sql.Identifier(own_database.database or ""), sql.Identifier(login)))
    url = own_database.set(username=login).render_as_string(hide_password=False)
    shown = migrated(url)
    assert shown.returncode == 1
    assert "Traceback" not in shown.stderr
    assert "CREATE ROLE cleanclip_worker NOLOGIN;" in shown.stderr
    [grant] = [line for line in shown.stderr.splitlines() if line.startswith("GRANT ")]
    with psycopg.connect(plain(own_database), autocommit=True) as connection:
        forced = "SELECT count(*) FROM pg_class WHERE relforcerowsecurity"
        assert connection.execute(forced).fetchone() == (0,), "nothing of the migration was done"
        connection.execute(grant.encode())  # the roles themselves are there: the server is shared
    again = migrated(url)
    assert again.returncode == 0, again.stderr


def migrated(url: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "app.cli", "migrate"],
        cwd=ROOT,
        env={**os.environ, "CLEANCLIP_DATABASE__URL": url},
        capture_output=True,
        text=True,
        check=False,
    )
