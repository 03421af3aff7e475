"""Roles behind a real PgBouncer, which drops the startup packet's options and hands connections around."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.engine import URL, make_url

from app.db.models.project import Project
from app.db.roles import PROJECT_SETTING, Role
from app.db.session import SETTINGS, Database, build_engine
from app.domain.errors import Unavailable
from app.domain.ids import new_id
from app.local.processes import Launch, free_ports, start, unprivileged_identity, wait_until
from app.local.stack import Stack

MODES = ("session", "transaction")


def pooler() -> str:
    found = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("pgbouncer is missing; .ci/run installs it")
        pytest.skip("pgbouncer is not installed here")
    return found


@pytest.fixture(scope="module", params=MODES)
def pooled_url(request: pytest.FixtureRequest, stack: Stack, database_url: str) -> Iterator[URL]:
    """The module's database through a PgBouncer with the settings that clients like ours usually get."""
    binary = pooler()
    if not any(server.name == "postgres" for server in stack.servers):
        pytest.skip("the server is not ours")
    url = make_url(database_url)
    [port] = free_ports(1)
    folder = Path(tempfile.mkdtemp(prefix="pooler-"))
    (folder / "users").write_text('"postgres" ""\n"cleanclip" ""\n', encoding="ascii")
    (folder / "pgbouncer.ini").write_text(
        f"""
[databases]
{url.database} = host={url.query["host"]}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {folder}/users
pool_mode = {request.param}
default_pool_size = 2
max_prepared_statements = 200
ignore_startup_parameters = options
track_extra_parameters = IntervalStyle
""",
        encoding="ascii",
    )
    launch = Launch(
        name="pgbouncer",
        command=[binary, str(folder / "pgbouncer.ini")],
        environment={"PATH": os.environ["PATH"]},
        folder=folder,
        log_path=folder / "log",
        identity=unprivileged_identity(),
    )
    process = start(launch)
    here = url.set(host="127.0.0.1", port=port, query={})
    try:
        probe = Database(build_engine(here.render_as_string(hide_password=False)))
        wait_until(lambda: answers(probe), process, timeout_s=20)
        probe.dispose()
        yield here
    finally:
        process.stop()
        shutil.rmtree(folder)


def answers(database: Database) -> bool:
    try:
        database.ping()
    except Unavailable:
        return False
    return True


@pytest.fixture
def database_as(pooled_url: URL) -> Iterator[Callable[[Role], Database]]:
    made: list[Database] = []

    def build(role: Role) -> Database:
        url = pooled_url.render_as_string(hide_password=False)
        made.append(Database(build_engine(url, role=role, pool_size=1)))
        return made[-1]

    yield build
    for database in made:
        database.dispose()


def test_each_transaction_runs_in_its_role_whoever_had_the_connection_before(
    database_as: Callable[[Role], Database],
) -> None:
    operator, api = database_as(Role.OPERATOR), database_as(Role.API)
    project = Project(id=new_id("prj"), name=new_id("prj"))
    with operator.unit_of_work() as unit:
        unit.projects.add(project)
    for _ in range(8):  # prepared statements, too
        with api.unit_of_work() as unit:
            assert unit.projects.all() == []
        with operator.unit_of_work() as unit:
            assert project.id in {row.id for row in unit.projects.all()}
        with api.unit_of_work(project.id) as unit:
            assert [row.id for row in unit.projects.all()] == [project.id]


def test_a_transaction_has_its_own_bounds_and_leaves_nothing_behind(pooled_url: URL) -> None:
    url = pooled_url.render_as_string(hide_password=False)
    bounded = build_engine(url, role=Role.API, pool_size=1, statement_timeout_s=7)
    names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "timezone", "role")
    shown = text("SELECT " + ", ".join(f"current_setting('{name}')" for name in (*names, PROJECT_SETTING)))
    with bounded.connect().execution_options(**{SETTINGS: {PROJECT_SETTING: "prj_x"}}) as connection:
        assert tuple(connection.execute(shown).one()) == ("7s", "5s", "1min", "UTC", "cleanclip_api", "prj_x")
    bounded.dispose()
    login = build_engine(url, pool_size=1)
    with login.connect() as connection:
        assert connection.scalar(text("SELECT current_setting('role')")) == "none"
        assert connection.scalar(text("SELECT current_setting('statement_timeout')")) == "0"
        assert not connection.scalar(text(f"SELECT current_setting('{PROJECT_SETTING}', true)"))
    login.dispose()


def test_one_sweeper_at_a_time(database_as: Callable[[Role], Database]) -> None:
    one, other = database_as(Role.WORKER), database_as(Role.WORKER)
    with one.exclusively(4711) as is_ones, other.exclusively(4711) as is_others:
        assert (is_ones, is_others) == (True, False)
    with other.exclusively(4711) as is_others:
        assert is_others


def test_a_superusers_login_is_refused(pooled_url: URL) -> None:
    url = pooled_url.set(username="postgres").render_as_string(hide_password=False)
    served = Database(build_engine(url, role=Role.API))
    with pytest.raises(Unavailable, match="above row-level security"):
        served.ping()
    served.dispose()
