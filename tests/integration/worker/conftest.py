"""A `World` per test, on a database and a bucket per module."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.db.session import Database, build_engine
from app.storage.s3 import S3Store
from tests.integration.worker.world import World


@pytest.fixture(scope="module")
def database(database_url: str) -> Iterator[Database]:
    database = Database(build_engine(database_url))
    yield database
    database.dispose()


@pytest.fixture
def world(database: Database, object_store: S3Store, tmp_path: Path) -> World:
    return World(database, object_store, tmp_path)
