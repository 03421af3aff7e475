"""A `World` per test, on a database and a bucket per module."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.db.roles import Role
from app.db.session import Database, build_engine
from app.storage.s3 import S3Store
from tests.fakes.webhook_receiver import Receiver
from tests.integration.worker.subscribed import execute
from tests.integration.worker.world import World


@pytest.fixture(scope="module")
def database(database_url: str) -> Iterator[Database]:
    """As workers and the sweeper see it."""
    database = Database(build_engine(database_url, role=Role.WORKER))
    yield database
    database.dispose()


@pytest.fixture(scope="module")
def hands(database_url: str) -> Iterator[Database]:
    """As operators see it."""
    hands = Database(build_engine(database_url, role=Role.OPERATOR))
    yield hands
    hands.dispose()


@pytest.fixture
def world(database: Database, hands: Database, object_store: S3Store, tmp_path: Path) -> World:
    return World(database, object_store, tmp_path, hands=hands)


@pytest.fixture
def quiet(world: World) -> None:
    """Webhooks of other tests wait for nobody."""
    execute(world, "UPDATE webhooks SET state = 'disabled'")


@pytest.fixture
def receiver(quiet: None) -> Iterator[Receiver]:
    """A customer's server, for whom no other test's webhook waits."""
    with Receiver() as receiver:
        yield receiver
