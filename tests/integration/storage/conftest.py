"""The store under test: the fake, or a real server."""

import secrets

import pytest

from app.local.stack import Stack
from app.settings import StorageSettings
from app.storage.bulkhead import Bulkhead
from app.storage.guarded import guarded
from app.storage.port import ObjectStore
from app.storage.s3 import S3Store
from tests.fakes.object_store import InMemoryObjectStore


@pytest.fixture(params=["fake", "server", "guarded"])
def store(request: pytest.FixtureRequest) -> ObjectStore:
    """An `ObjectStore` with a bucket; the server starts only for the tests that ask for it. `guarded` is the
    fake behind an API process's bulkhead."""
    if request.param == "server":
        real: ObjectStore = request.getfixturevalue("object_store")
        return real
    fake = InMemoryObjectStore()
    fake.ensure_bucket()
    return fake if request.param == "fake" else guarded(fake, Bulkhead(num_calls=32, timeout_s=30.0))


@pytest.fixture
def prefix() -> str:
    """A folder in the bucket that no other test uses; ends with a slash."""
    return f"projects/{secrets.token_hex(6)}/"


@pytest.fixture
def storage_settings(stack: Stack, object_store: S3Store) -> StorageSettings:
    """How to reach the real server's bucket of this module."""
    return stack.settings().storage.model_copy(update={"bucket": object_store.bucket})
