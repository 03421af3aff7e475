"""The service as images hold it: installed into a folder, without the sources beside it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect

from app.db.schema import TABLES
from app.local.stack import Stack
from tests.fixtures.databases import own_database

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `pip install --target` filled, as in docker/api.Dockerfile's second stage."""
    sources = tmp_path_factory.mktemp("sources")
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    left_out = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line.isalpha()]
    for name in tracked.stdout.splitlines():
        if name.split("/")[0] not in left_out and (ROOT / name).is_file():
            (sources / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, sources / name)
    target = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run(
        [*pip, "--no-compile", "--target", target, sources, sources / "cleanclip"], check=True, timeout=180
    )
    return target


@pytest.fixture
def empty_database(stack: Stack) -> Iterator[str]:
    with own_database(stack.settings().database.url, "installed") as url:
        yield url


def command(installed: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *words],
        cwd="/",
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(installed), **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_migrate_finds_the_migrations(installed: Path, empty_database: str) -> None:
    migrated = command(installed, "app.cli", "migrate", CLEANCLIP_DATABASE__URL=empty_database)
    assert migrated.returncode == 0, migrated.stderr
    engine = create_engine(empty_database)
    assert {table.__tablename__ for table in TABLES} <= set(inspect(engine).get_table_names())
    engine.dispose()


def test_every_process_finds_what_it_needs(installed: Path) -> None:
    modules = ("app.main", "worker.sweeper", "worker.webhooks.__main__", "worker.health", "worker.celery_app")
    code = f"import {', '.join(modules)}; print(app.__file__, worker.__file__)"
    imported = command(installed, "timeit", "-n1", "-r1", code)
    assert imported.returncode == 0, imported.stderr
    assert imported.stdout.count(str(installed)) == 2


def test_what_operating_pages_ask_for_is_there(installed: Path) -> None:
    """`python -m …` in docs/how-to/operating is what an operator types into a container."""
    words = set()
    for page in (ROOT / "docs/how-to/operating").glob("*.md"):
        words |= {after.split("`")[0].split()[0] for after in page.read_text().split("python -m ")[1:]}
    missing = [
        name
        for name in sorted(words - {"alembic"})
        if not name.startswith(("lab.", "tools."))  # of the sources, for who develops
        if not any((installed / name.replace(".", "/")).with_suffix(end).exists() for end in (".py", ""))
    ]
    assert missing == []
