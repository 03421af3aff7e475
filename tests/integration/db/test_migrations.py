"""Migrations: up, down, up again, and the same schema as the models."""

import os
import subprocess
import sys
import time
from pathlib import Path

from sqlalchemy import Connection, create_engine, inspect

from app.db.schema import TABLES, metadata
from lab.drills.online_change import configuration_with_next_migrations, head

ROOT = Path(__file__).resolve().parents[3]


def alembic(
    database_url: str, *arguments: str, ini: Path = ROOT / "alembic.ini"
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "alembic", "-c", ini, "-x", f"url={database_url}", *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )


def tables(database_url: str) -> set[str]:
    engine = create_engine(database_url)
    try:
        return set(inspect(engine).get_table_names()) - {"alembic_version"}
    finally:
        engine.dispose()


def test_models_and_migrations_agree(database_url: str) -> None:
    checked = alembic(database_url, "check")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert tables(database_url) == {table.__tablename__ for table in TABLES}


def test_models_and_migrations_agree_on_every_check_and_each_holds_for_old_rows(database_url: str) -> None:
    """Which `alembic check` does not compare."""
    engine = create_engine(database_url)
    with engine.connect() as connection:
        migrated = checks(connection, "public")
        connection.exec_driver_sql("CREATE SCHEMA models")
        metadata.create_all(connection.execution_options(schema_translate_map={None: "models"}))
        assert migrated == checks(connection, "models")
        connection.rollback()
    engine.dispose()
    assert {name for _, name, _ in migrated} >= {"ck_uploads_object_key", "ck_jobs_state"}
    assert not [name for _, name, text in migrated if "NOT VALID" in text]


def checks(connection: Connection, schema: str) -> set[tuple[str, str, str]]:
    """Table, name and text of its check constraints."""
    query = """SELECT relname, conname, pg_get_constraintdef(c.oid) FROM pg_constraint c
        JOIN pg_class t ON t.oid = conrelid JOIN pg_namespace n ON n.oid = relnamespace
        WHERE contype = 'c' AND nspname = %s"""
    return {tuple(row) for row in connection.exec_driver_sql(query, (schema,))}


def test_the_schema_goes_down_to_nothing_and_up_again(database_url: str) -> None:
    down = alembic(database_url, "downgrade", "base")
    assert down.returncode == 0, down.stderr
    assert tables(database_url) == set()
    up = alembic(database_url, "upgrade", "head")
    assert up.returncode == 0, up.stderr
    assert alembic(database_url, "check").returncode == 0


def test_a_difference_is_noticed(database_url: str) -> None:
    engine = create_engine(database_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE jobs DROP COLUMN swept_at")
    try:
        assert alembic(database_url, "check").returncode != 0
    finally:
        with engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE jobs ADD COLUMN swept_at timestamptz")
        engine.dispose()


def test_every_table_but_projects_and_nulls_names_its_project() -> None:
    for table in TABLES:
        if table.__tablename__ not in {"projects", "null_sets"}:
            assert "project_id" in table.__table__.columns, table.__tablename__


def test_two_migrators_at_once_both_succeed(database_url: str) -> None:
    assert alembic(database_url, "downgrade", "base").returncode == 0
    command = [sys.executable, "-m", "alembic", "-x", f"url={database_url}", "upgrade", "head"]
    both = [
        subprocess.Popen(command, cwd=ROOT, env={"PATH": os.environ["PATH"]}, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    errors = [process.communicate()[1].decode() for process in both]
    assert [process.returncode for process in both] == [0, 0], errors


def test_a_migration_that_cannot_have_its_lock_lets_requests_through_and_tries_again(
    database_url: str, tmp_path: Path
) -> None:
    assert alembic(database_url, "upgrade", "head").returncode == 0
    ini = configuration_with_next_migrations(tmp_path)
    engine = create_engine(database_url)
    waits_s: list[float] = []
    with engine.connect() as long_reader:
        long_reader.exec_driver_sql("SELECT count(*) FROM jobs")  # a report that reads for a while
        migration = subprocess.Popen(
            [sys.executable, "-m", "alembic", "-c", ini, "-x", f"url={database_url}", "upgrade", "head"],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"]},
            stderr=subprocess.PIPE,
        )
        until = time.monotonic() + 120.0
        while time.monotonic() < until and len(waits_s) < 3:
            began = time.monotonic()
            with engine.begin() as request:
                request.exec_driver_sql("SELECT count(*) FROM jobs")
            if (waited_s := time.monotonic() - began) > 0.3:
                waits_s.append(waited_s)
            time.sleep(0.01)
        assert migration.poll() is None, "it waits for the reader"
    _, said = migration.communicate(timeout=60)
    engine.dispose()
    assert migration.returncode == 0, said.decode()
    assert len(waits_s) == 3
    assert min(waits_s) < 1.0, "requests queued up behind the migration, for less than a second"
    down = alembic(database_url, "downgrade", head(), ini=ini)
    assert down.returncode == 0, down.stderr
    assert alembic(database_url, "check").returncode == 0
