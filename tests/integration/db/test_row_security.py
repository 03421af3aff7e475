"""Row-level security: without a project nothing is seen, with one only its rows, whatever the SQL says.

Made from the catalog and from the tables' definitions, so that a table that comes later is covered or found.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from psycopg.errors import CheckViolation, InsufficientPrivilege
from sqlalchemy import Connection, Engine, Enum, Table, insert, select, text
from sqlalchemy.exc import IntegrityError, ProgrammingError

from app.db.models.job import Artifact, Job
from app.db.models.project import ApiKey
from app.db.roles import PROJECT_SETTING, Role
from app.db.session import Database, build_engine
from app.domain.ids import new_id
from app.domain.states import JobKind
from tests.fixtures.databases import session_of
from tests.fixtures.rows import OWNED, project_column, put_key_right, rows_of

ALICE, BOB = "prj_alice", "prj_bob"
by_table = pytest.mark.parametrize("table", OWNED, ids=lambda table: table.name)


@pytest.fixture(scope="module")
def engines(database_url: str) -> Iterator[dict[Role, Engine]]:
    """One engine a role, and a row of every table for each of two projects."""
    engines = {role: build_engine(database_url, role=role, pool_size=1, max_overflow=0) for role in Role}
    with engines[Role.OPERATOR].begin() as connection:
        for project_id in (ALICE, BOB):
            rows = rows_of(project_id)
            for table in OWNED:
                connection.execute(insert(table).values(rows[table.name]))
    yield engines
    for engine in engines.values():
        engine.dispose()


@contextmanager
def tried(engine: Engine, project_id: str | None = None) -> Iterator[Connection]:
    """A transaction as the API opens it, undone in the end."""
    with engine.connect() as connection, connection.begin() as transaction:
        if project_id is not None:
            setting = {"name": PROJECT_SETTING, "value": project_id}
            connection.execute(text("SELECT set_config(:name, :value, true)"), setting)
        yield connection
        transaction.rollback()


def num_changed(connection: Connection, statement: str) -> int:
    """How many rows a statement changes; 0 where the role may not even try."""
    try:
        with connection.begin_nested():
            return connection.execute(text(statement)).rowcount
    except ProgrammingError as error:
        if not isinstance(error.orig, InsufficientPrivilege):
            raise
        return 0


def is_refused(connection: Connection, statement: Any, values: dict[str, Any] | None = None) -> bool:
    try:
        with connection.begin_nested():
            connection.execute(text(statement) if isinstance(statement, str) else statement, values or {})
    except ProgrammingError as error:
        return isinstance(error.orig, InsufficientPrivilege)
    return False


def whose(connection: Connection, table: Table) -> set[str]:
    """The projects of the rows that a query without any condition finds."""
    return set(connection.scalars(select(project_column(table))))


def unprotected(connection: Connection) -> set[str]:
    """Tables whose rows are not forced behind row-level security, alembic's own apart."""
    query = """
        SELECT relname FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
          AND relname <> 'alembic_version' AND NOT (relrowsecurity AND relforcerowsecurity)
    """
    return set(connection.scalars(text(query)))


# ---------------------------------------------------------------- which tables


def test_every_table_is_forced_behind_row_level_security(database_url: str) -> None:
    engine = build_engine(database_url)
    with engine.connect() as connection:
        assert unprotected(connection) == set()
        connection.execute(text("CREATE TABLE newcomer (project_id text)"))
        assert unprotected(connection) == {"newcomer"}
        connection.execute(text("ALTER TABLE newcomer ENABLE ROW LEVEL SECURITY"))
        assert unprotected(connection) == {"newcomer"}, "the owner would look past it"
        connection.rollback()
    engine.dispose()


def test_the_owner_of_the_tables_sees_nothing_as_itself(
    database_url: str, engines: dict[Role, Engine]
) -> None:
    engine = build_engine(database_url)
    with engine.connect() as connection:
        if connection.scalar(text("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")):
            pytest.skip("the login is a superuser here, whom nothing stops")
        for table in OWNED:
            assert whose(connection, table) == set(), table.name
    engine.dispose()


@pytest.mark.parametrize("role", Role)
def test_a_role_owns_nothing_may_not_log_in_and_is_above_no_rule(
    engines: dict[Role, Engine], role: Role
) -> None:
    with engines[role].connect() as connection:
        rights = "rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication"
        query = f"SELECT {rights} FROM pg_roles WHERE rolname = current_user"
        assert set(connection.execute(text(query)).one()) == {False}
        assert connection.scalar(text("SELECT current_user")) == role
        owned = "SELECT count(*) FROM pg_class WHERE relowner = current_user::regrole"
        assert connection.scalar(text(owned)) == 0
        member = "SELECT count(*) FROM pg_auth_members WHERE member = current_user::regrole"
        assert connection.scalar(text(member)) == 0, "it inherits from nobody"


@pytest.mark.parametrize("role", Role)
def test_no_role_may_change_the_schema(engines: dict[Role, Engine], role: Role) -> None:
    with tried(engines[role], ALICE) as connection:
        for statement in (
            "CREATE TABLE mine (x int)",
            "DROP TABLE jobs",
            "ALTER TABLE jobs DISABLE ROW LEVEL SECURITY",
            "ALTER TABLE jobs NO FORCE ROW LEVEL SECURITY",
            "DROP POLICY tenant ON jobs",
            "CREATE POLICY mine ON jobs USING (true)",
            "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
            f"ALTER ROLE {role} BYPASSRLS",
        ):
            assert is_refused(connection, statement), statement
        for table in OWNED:
            assert is_refused(connection, f"TRUNCATE {table.name} CASCADE"), table.name


# ---------------------------------------------------------------- the API's role


@by_table
def test_without_a_project_the_api_sees_and_changes_nothing(
    engines: dict[Role, Engine], table: Table
) -> None:
    column = project_column(table).name
    with tried(engines[Role.API]) as connection:
        assert whose_or_denied(connection, table) == set()
        assert num_changed(connection, f"UPDATE {table.name} SET {column} = {column}") == 0
        assert num_changed(connection, f"DELETE FROM {table.name}") == 0
        assert is_refused(connection, insert(table), fresh_row(table, ALICE))


def whose_or_denied(connection: Connection, table: Table) -> set[str]:
    if is_refused(connection, select(project_column(table))):
        return set()
    return whose(connection, table)


@by_table
def test_with_a_project_the_api_sees_and_changes_its_rows_only(
    engines: dict[Role, Engine], table: Table
) -> None:
    column = project_column(table).name
    with tried(engines[Role.API], ALICE) as connection:
        assert whose_or_denied(connection, table) <= {ALICE}
        num_mine = 1 if may(connection, table, "SELECT") else 0
        assert num_changed(connection, f"UPDATE {table.name} SET {column} = {column}") <= num_mine
        assert num_changed(connection, f"DELETE FROM {table.name} WHERE {column} = '{BOB}'") == 0
        assert is_refused(connection, insert(table), fresh_row(table, BOB))
        assert num_changed(connection, f"UPDATE {table.name} SET {column} = '{BOB}'") == 0, "handed over"


def may(connection: Connection, table: Table, privilege: str) -> bool:
    query = text("SELECT has_table_privilege(current_user, :name, :privilege)")
    return bool(connection.scalar(query, {"name": table.name, "privilege": privilege}))


def fresh_row(table: Table, project_id: str) -> dict[str, Any]:
    """A row that would be new, referring to what the project has."""
    values = rows_of(project_id)[table.name]
    for column in table.primary_key.columns:
        if isinstance(column.type, Enum):
            values[column.name] = column.type.enums[-1]
        elif column.name in values and not column.foreign_keys:
            values[column.name] = 77 if isinstance(values[column.name], int) else f"fresh {table.name}"
    if table.name == "projects":
        values["name"] = "fresh"
    put_key_right(table, values)
    return values


def test_what_requests_need_is_seen_at_all(engines: dict[Role, Engine]) -> None:
    """So that the tests above are not true of a role that sees nothing whatever it says."""
    with tried(engines[Role.API], ALICE) as connection:
        seen = {table.name for table in OWNED if whose_or_denied(connection, table) == {ALICE}}
        assert seen >= {"projects", "api_keys", "uploads", "checkpoints", "datasets", "jobs", "artifacts"}
        assert num_changed(connection, "UPDATE jobs SET version = 5") == 1
        assert num_changed(connection, "DELETE FROM idempotency_keys") == 1


@pytest.mark.parametrize(
    ("table", "column", "target"),
    [
        ("jobs", "checkpoint_id", "checkpoints"),
        ("jobs", "dataset_id", "datasets"),
        ("jobs", "labelled_dataset_id", "datasets"),
        ("jobs", "retrieval_dataset_id", "datasets"),
        ("jobs", "trusted_dataset_id", "datasets"),
        ("jobs", "anchor_checkpoint_id", "checkpoints"),
        ("datasets", "upload_id", "uploads"),
        ("checkpoints", "upload_id", "uploads"),
        ("job_events", "job_id", "jobs"),
        ("verdicts", "job_id", "jobs"),
        ("webhook_deliveries", "webhook_id", "webhooks"),
    ],
)
def test_a_row_cannot_refer_to_another_projects(
    engines: dict[Role, Engine], table: str, column: str, target: str
) -> None:
    theirs = rows_of(BOB)[target]["id"]
    [found] = [known for known in OWNED if known.name == table]
    with tried(engines[Role.API], ALICE) as connection:
        assert is_refused(connection, insert(found), fresh_row(found, ALICE) | {column: theirs})
        if may(connection, found, "UPDATE"):
            assert is_refused(connection, f"UPDATE {table} SET {column} = '{theirs}'")


@pytest.mark.parametrize(
    ("subject", "table"),
    [("upload", "uploads"), ("checkpoint", "checkpoints"), ("dataset", "datasets"), ("job", "jobs")],
)
def test_a_deletion_can_be_asked_for_what_is_the_projects_own_only(
    engines: dict[Role, Engine], subject: str, table: str
) -> None:
    [deletions] = [known for known in OWNED if known.name == "deletions"]
    mine, theirs = (rows_of(project_id)[table]["id"] for project_id in (ALICE, BOB))
    row = fresh_row(deletions, ALICE) | {"subject": subject, "reason": "requested", "subject_id": mine}
    row["key_id"] = rows_of(ALICE)["api_keys"]["id"]
    with tried(engines[Role.API], ALICE) as connection:
        for change in (
            {"subject_id": theirs},
            {"subject_id": "nothing"},
            {"reason": "operator"},
            {"subject": "project", "subject_id": ALICE},
            {"subject": "job_outputs"},
            {"finished_at": datetime.now(UTC), "num_objects": 7},
            {"requested_at": datetime.now(UTC)},
            {"key_id": rows_of(BOB)["api_keys"]["id"]},
            {"key_id": None},
        ):
            assert is_refused(connection, insert(deletions), row | change), change
        assert not is_refused(connection, insert(deletions), row)


def test_the_project_of_one_transaction_is_forgotten_by_the_next(engines: dict[Role, Engine]) -> None:
    database = Database(engines[Role.API])
    backends: list[int] = []

    def look(project_id: str | None) -> list[str]:
        with session_of(database, **({} if project_id is None else {"project_id": project_id})) as session:
            backends.append(session.scalars(text("SELECT pg_backend_pid()")).one())
        with database.unit_of_work(project_id) as unit:
            jobs, _ = unit.jobs.page(ALICE, None, 10, kinds=list(JobKind))
            return [unit.jobs.get(ALICE, job_id).project_id for job_id in jobs]

    def break_off() -> None:
        with database.unit_of_work(ALICE):
            raise RuntimeError

    assert look(ALICE) == [ALICE]
    assert look(None) == []
    with pytest.raises(RuntimeError):
        break_off()
    assert look(None) == []
    assert look(BOB) == [], "Alice's rows are asked for, Bob's are seen"
    assert len(set(backends)) == 1, "all on the same connection"


def test_the_api_does_not_see_the_rows_of_another_project_that_it_asks_for(
    engines: dict[Role, Engine],
) -> None:
    database = Database(engines[Role.API])
    with database.unit_of_work(ALICE) as unit:
        assert unit.jobs.page(BOB, None, 10, kinds=list(JobKind)) == ({}, False)
        assert unit.api_keys.of_project(BOB) == []
        assert [project.id for project in unit.projects.all()] == [ALICE]


def test_the_project_is_looked_up_once_a_statement_and_with_an_index(engines: dict[Role, Engine]) -> None:
    with tried(engines[Role.API], ALICE) as connection:
        connection.execute(text("SET LOCAL enable_seqscan = off"))
        query = "EXPLAIN SELECT id FROM jobs ORDER BY id DESC LIMIT 21"
        plan = "\n".join(connection.scalars(text(query)))
    assert "InitPlan" in plan, plan
    assert "Index Cond: (project_id = " in plan, plan


# ---------------------------------------------------------------- recognising a key


def test_before_the_project_is_known_exactly_the_presented_key_is_seen(engines: dict[Role, Engine]) -> None:
    database = Database(engines[Role.API])
    secret = rows_of(ALICE)["api_keys"]["secret_sha256"]
    with session_of(database, key_sha256=secret) as session:
        assert list(session.scalars(select(ApiKey.project_id))) == [ALICE]
        for table in OWNED:
            if table.name != "api_keys":
                assert whose_or_denied(session.connection(), table) == set(), table.name
        assert num_changed(session.connection(), "UPDATE api_keys SET last_used_at = now()") == 1
        for change in (f"project_id = '{BOB}'", "scopes = '{admin}'", "secret_sha256 = 'x'"):
            assert is_refused(session.connection(), f"UPDATE api_keys SET {change}"), change
    with session_of(database, key_sha256="unknown") as session:
        assert session.scalars(select(ApiKey)).all() == []


def test_all_jobs_are_counted_without_being_seen(engines: dict[Role, Engine]) -> None:
    database = Database(engines[Role.API])
    with database.unit_of_work() as unit:
        assert sum(unit.jobs.num_by_state().values()) == 2
    with session_of(database) as session:
        assert session.scalars(select(Job)).all() == []


# ---------------------------------------------------------------- the other roles


def test_a_worker_sees_the_jobs_of_all_projects_and_no_key(engines: dict[Role, Engine]) -> None:
    with tried(engines[Role.WORKER]) as connection:
        for name in ("jobs", "uploads", "checkpoints", "datasets", "artifacts", "projects"):
            [table] = [known for known in OWNED if known.name == name]
            assert whose(connection, table) == {ALICE, BOB}
        for statement in ("SELECT * FROM api_keys", "DELETE FROM api_keys", "UPDATE projects SET name = 'x'"):
            assert is_refused(connection, statement), statement
        made_by_requests = {"projects", "uploads", "checkpoints", "datasets", "jobs", "api_keys"}
        for table in (known for known in OWNED if known.name in made_by_requests):
            assert is_refused(connection, insert(table), fresh_row(table, ALICE)), table.name


AUTHOR: dict[Role, dict[str, Any]] = {
    Role.API: {"key_id": rows_of(ALICE)["api_keys"]["id"]},
    Role.WORKER: {"actor": "retention"},
    Role.OPERATOR: {"actor": "root@ops"},
}
"""Who writes lines of the trail as whom."""


@pytest.mark.parametrize("role", Role)
def test_a_line_of_the_trail_has_the_databases_time_and_its_true_author(
    engines: dict[Role, Engine], role: Role
) -> None:
    [table] = [known for known in OWNED if known.name == "trail_entries"]
    row = fresh_row(table, ALICE) | AUTHOR[role]
    forged: list[dict[str, Any]] = [{"created_at": datetime(2001, 1, 1, tzinfo=UTC)}]
    if role is not Role.OPERATOR:  # whose commands say themselves who does it
        forged += [{"actor": "root@ops"}, {"key_id": rows_of(BOB)["api_keys"]["id"]}, {"key_id": "key_none"}]
    if role is Role.API:
        forged += [{"key_id": None}, {"actor": "retention"}, {"actor": "webhooks"}]
    with tried(engines[role], ALICE) as connection:
        for change in forged:
            assert is_refused(connection, insert(table), row | change), change
        assert not is_refused(connection, insert(table), row)


def test_who_disables_a_webhook_may_say_so(engines: dict[Role, Engine]) -> None:
    [table] = [known for known in OWNED if known.name == "trail_entries"]
    with tried(engines[Role.WORKER], ALICE) as connection:
        assert not is_refused(connection, insert(table), fresh_row(table, ALICE) | {"actor": "webhooks"})


def test_a_worker_changes_neither_where_a_webhook_goes_nor_its_secret(engines: dict[Role, Engine]) -> None:
    with tried(engines[Role.WORKER]) as connection:
        for column in ("url", "events", "sealed_secret", "sealed_previous_secret", "project_id"):
            assert is_refused(connection, f"UPDATE webhooks SET {column} = {column}"), column
        assert not is_refused(connection, "UPDATE webhooks SET state = state")


def test_a_key_that_is_gone_with_its_project_still_signs_what_it_does_while_it_is_believed(
    database_url: str, engines: dict[Role, Engine]
) -> None:
    engine = build_engine(database_url)
    [table] = [known for known in OWNED if known.name == "trail_entries"]
    with tried(engine, ALICE) as connection:
        connection.execute(text(f"SET LOCAL ROLE {Role.OPERATOR}"))
        connection.execute(text("DELETE FROM api_keys WHERE project_id = :mine"), {"mine": ALICE})
        connection.execute(text(f"SET LOCAL ROLE {Role.API}"))
        assert not is_refused(connection, insert(table), fresh_row(table, ALICE) | AUTHOR[Role.API])
    engine.dispose()


def test_a_key_of_the_object_store_lies_in_its_rows_own_project_whoever_writes_it(
    engines: dict[Role, Engine],
) -> None:
    """What stands there is what the sweeper deletes and the worker reads, with rights over all projects."""
    theirs = rows_of(BOB)
    key = theirs["uploads"]["object_key"]
    pinned = f'[{{"name": "x", "bucket": null, "key": "{key}", "size_bytes": 1, "sha256": ""}}]'
    state = f'{{"prefix": "states/{BOB}/{theirs["jobs"]["id"]}/attempt-1/"}}'
    forged: dict[str, dict[str, tuple[str, ...]]] = {
        "uploads": {"object_key": (key, f"uploads/{BOB}/", f"uploads/{ALICE}/", "-")},
        "checkpoints": {"upload_object_key": (key,), "canonical_prefix": (f"checkpoints/{BOB}/",)},
        "datasets": {"files": (pinned,)},
        "jobs": {"resume_state": (state, f'{{"previous": {state}}}')},
        "artifacts": {"object_key": (theirs["artifacts"]["object_key"], f"checkpoints/{BOB}/x")},
    }
    for role in Role:
        with tried(engines[role], ALICE) as connection:
            for table, columns in forged.items():
                for column, values in columns.items():
                    kind = "jsonb" if column in {"files", "resume_state"} else "text"
                    change = f"UPDATE {table} SET {column} = CAST(:value AS {kind}) WHERE project_id = :mine"
                    for value in values:
                        given = {"value": value, "mine": ALICE}
                        failing = pytest.raises((ProgrammingError, IntegrityError))
                        with failing as refused, connection.begin_nested():
                            connection.execute(text(change), given)
                        assert isinstance(refused.value.orig, CheckViolation | InsufficientPrivilege), value


def test_a_request_changes_no_key_nor_what_a_row_is_about(engines: dict[Role, Engine]) -> None:
    with tried(engines[Role.API], ALICE) as connection:
        for table, columns in {
            "uploads": ("id", "project_id", "object_key", "size_bytes", "purpose"),
            "checkpoints": ("upload_id", "upload_object_key", "canonical_prefix", "size_bytes", "source"),
            "datasets": ("uri", "upload_id", "files", "summary"),
            "jobs": ("kind", "checkpoint_id", "dataset_id", "spec", "resume_state", "attempt", "result"),
        }.items():
            for column in columns:
                assert is_refused(connection, f"UPDATE {table} SET {column} = {column}"), (table, column)
        [datasets] = [known for known in OWNED if known.name == "datasets"]
        assert is_refused(connection, insert(datasets), fresh_row(datasets, ALICE) | {"files": []})
        assert not is_refused(connection, insert(datasets), fresh_row(datasets, ALICE))


@pytest.mark.parametrize("role", Role)
def test_nobody_who_serves_changes_the_trail(engines: dict[Role, Engine], role: Role) -> None:
    [table] = [known for known in OWNED if known.name == "trail_entries"]
    with tried(engines[role], ALICE) as connection:
        assert ALICE in whose(connection, table)
        assert not is_refused(connection, insert(table), fresh_row(table, ALICE) | AUTHOR[role])
        for statement in (
            "UPDATE trail_entries SET action = 'nothing'",
            "DELETE FROM trail_entries",
            "TRUNCATE trail_entries",
            "SELECT * FROM trail_entries FOR UPDATE",
        ):
            assert is_refused(connection, statement), statement


def test_the_api_writes_no_artifact(engines: dict[Role, Engine]) -> None:
    with tried(engines[Role.API], ALICE) as connection:
        row = fresh_row(Artifact.__table__, ALICE) | {"id": new_id("art")}  # type: ignore[arg-type]
        assert is_refused(connection, insert(Artifact), row)
