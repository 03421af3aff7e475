"""Logins: a superuser that is bound all the same, one that may become one role only, one that makes none."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from sqlalchemy.engine import URL, make_url

from app.cli.access import migrate
from app.db.models.project import Project
from app.db.roles import Role
from app.db.session import Database, build_engine
from app.domain.errors import Unavailable
from app.domain.ids import new_id
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


def test_a_superusers_login_is_bound_like_any_other(own_database: URL) -> None:
    """Where one login owns the database and serves every process."""
    url = own_database.render_as_string(hide_password=False)
    migrate(url)
    project = Project(id=new_id("prj"), name="lab")
    operators = Database(build_engine(url, role=Role.OPERATOR))
    with operators.unit_of_work() as unit:
        unit.projects.add(project)
    operators.dispose()
    served = Database(build_engine(url, role=Role.API))
    with served.unit_of_work() as unit:
        assert unit.projects.all() == []
    with served.unit_of_work(project.id) as unit:
        assert [row.id for row in unit.projects.all()] == [project.id]
    served.dispose()


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
