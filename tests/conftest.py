"""Real servers for the tests: one embedded stack per run, a fresh database, bucket and broker per module.

A server whose URL is in the environment (CLEANCLIP_DATABASE__URL, CLEANCLIP_BROKER__URL,
CLEANCLIP_STORAGE__ENDPOINT_URL with its keys) is used instead of an embedded one; its role must be allowed
to create databases and buckets. Tests that use none of these fixtures start nothing.
"""

import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import redis
from pydantic import SecretStr
from sqlalchemy.engine import make_url

from app.local.stack import Stack
from app.settings import Settings
from app.storage.s3 import S3Store
from cleanclip.setup import make_sync
from cleanclip.vocabulary.control import SEARCHES
from tests.fixtures.buckets import own_bucket
from tests.fixtures.databases import own_database
from tests.fixtures.webhooks import WEBHOOKS_KEY

pytest_plugins = ("tests.suites",)

make_sync()
"""So that the tests see the synchronous client of today's source, also where nobody ran `make`."""

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
"""Before anything loads torch: its idle threads would burn the cores that the other process tests on."""
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # a core each; two threads cost 1.6 times the time

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell's background job ignores Ctrl-C, and so would every process that the tests start, and hang.
    signal.signal(signal.SIGINT, signal.default_int_handler)

_NUM_BROKER_DATABASES = 16  # what a Redis has unless told otherwise
_broker_databases = itertools.cycle(range(1, _NUM_BROKER_DATABASES))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever touches the stack carries the marker, so that `-m 'not stack'` needs no server."""
    for item in items:
        if "stack" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.stack)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """PostgreSQL, Valkey and SeaweedFS, without fsync."""
    with Stack(tmp_path_factory.mktemp("stack"), fsync=False) as running:
        yield running


@pytest.fixture(scope="session")
def template_database(stack: Stack) -> Iterator[str]:
    """The name of a database that holds the migrated schema and nothing else."""
    with own_database(stack.settings().database.url, "template") as url:
        migrated = subprocess.run(
            [sys.executable, "-m", "app.cli", "migrate"],
            env={**os.environ, **stack.environment, "CLEANCLIP_DATABASE__URL": url},
            cwd=Path(__file__).resolve().parent.parent,
            capture_output=True,
            text=True,
            check=False,
        )
        assert migrated.returncode == 0, migrated.stderr
        yield str(make_url(url).database)


@pytest.fixture(scope="module")
def database_url(stack: Stack, template_database: str) -> Iterator[str]:
    """SQLAlchemy URL of a migrated, empty database that only this module uses."""
    with own_database(stack.settings().database.url, "test", template=template_database) as url:
        yield url


@pytest.fixture(scope="module")
def broker_url(stack: Stack) -> str:
    """URL of an empty broker database that only this module uses."""
    return empty_broker(stack)


def empty_broker(stack: Stack) -> str:
    url = stack.settings().broker.url.rpartition("/")[0] + f"/{next(_broker_databases)}"
    with redis.Redis.from_url(url) as broker:
        broker.flushdb()
    return url


@pytest.fixture(scope="module")
def object_store(stack: Stack) -> Iterator[S3Store]:
    """An empty bucket that only this module uses."""
    with own_bucket(stack.settings().storage, "test") as store:
        yield store


@pytest.fixture(scope="module")
def service_settings(
    stack: Stack,
    database_url: str,
    broker_url: str,
    object_store: S3Store,
    tmp_path_factory: pytest.TempPathFactory,
) -> Settings:
    """Settings that point every part of the service at this module's own database, broker and bucket."""
    return settings_of(stack, database_url, broker_url, object_store, tmp_path_factory.mktemp("work"))


@pytest.fixture(scope="module")
def short_searches() -> Iterator[None]:
    """A cleaned model is searched for patterns in seconds instead of half a minute; whole searches are of
    tests/numerics/test_families_of_models.py."""
    short = tuple(replace(one, restarts=2, steps=(2,), images_per_step=4) for one in SEARCHES)
    with pytest.MonkeyPatch.context() as patch:
        for module in ("sanitizer.pipeline.control", "cleanclip.evidence.control"):
            patch.setattr(f"{module}.SEARCHES", short)
        yield


def settings_of(stack: Stack, database_url: str, broker_url: str, store: S3Store, work_dir: Path) -> Settings:
    base = stack.settings()
    return base.model_copy(
        update={
            "database": base.database.model_copy(update={"url": database_url}),
            "broker": base.broker.model_copy(update={"url": broker_url}),
            "api": base.api.model_copy(update={"stop_grace_s": 5}),
            "storage": base.storage.model_copy(update={"bucket": store.bucket}),
            "webhooks": base.webhooks.model_copy(update={"encryption_keys": (SecretStr(WEBHOOKS_KEY),)}),
            "worker": base.worker.model_copy(update={"work_dir": work_dir}),
            "sources": base.sources.model_copy(update={"allowed_hosts": ("huggingface.co",)}),
        }
    )


@pytest.fixture(scope="module")
def service_environment(service_settings: Settings) -> dict[str, str]:
    """The same for other processes: everything of os.environ, and CLEANCLIP_… variables over it."""
    storage = service_settings.storage
    return {
        **os.environ,
        "CLEANCLIP_DATABASE__URL": service_settings.database.url,
        "CLEANCLIP_BROKER__URL": service_settings.broker.url,
        "CLEANCLIP_STORAGE__ENDPOINT_URL": storage.endpoint_url or "",
        "CLEANCLIP_STORAGE__BUCKET": storage.bucket,
        "CLEANCLIP_STORAGE__ACCESS_KEY": storage.access_key,
        "CLEANCLIP_STORAGE__SECRET_KEY": storage.secret_key.get_secret_value(),
        "CLEANCLIP_WORKER__WORK_DIR": str(service_settings.worker.work_dir),
        "CLEANCLIP_WEBHOOKS__ENCRYPTION_KEYS": json.dumps([WEBHOOKS_KEY]),
    }
