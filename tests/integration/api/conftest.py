"""One running API per module, with two tenants."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import httpx
import pytest
import structlog

from app.db.roles import Role
from app.db.session import Database, build_engine
from app.logs import configure_logging
from app.main import create_app
from app.settings import Settings
from app.storage.s3 import S3Store
from app.storage.s3_client import make_client
from tests.fakes.job_publisher import FakeJobPublisher
from tests.integration.api.service import MIB, Service, running, tenant


@pytest.fixture(scope="module")
def service_log() -> Iterator[io.StringIO]:
    """Everything that the service logs, as an operator would get it: JSON lines."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    stream = io.StringIO()
    configure_logging(level="INFO", json_lines=True, stream=stream)
    yield stream
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(scope="module")
def service(service_settings: Settings, object_store: S3Store, service_log: io.StringIO) -> Iterator[Service]:
    """Parts of 5 MiB, the smallest that S3 takes; datasets below s3://<bucket>/allowed/ only."""
    settings = service_settings.model_copy(
        update={
            "uploads": service_settings.uploads.model_copy(
                update={"min_part_bytes": 5 * MIB, "max_size_bytes": 1024 * MIB}
            ),
            # Tests change keys behind the service's back; test_load.py is about the memory of them.
            "api": service_settings.api.model_copy(update={"key_cache_s": 0.0}),
            # Whole modules fail to log in, from one address; test_quotas.py is about how often one may.
            "quotas": service_settings.quotas.model_copy(update={"failed_logins_per_minute": 1_000_000}),
            "datasets": service_settings.datasets.model_copy(
                update={
                    "allowed_prefixes": (
                        f"s3://{object_store.bucket}/allowed/",
                        f"s3://{object_store.bucket}/of/{{project}}/",
                    ),
                    "max_num_shards": 50,
                }
            ),
        }
    )
    publisher = FakeJobPublisher()
    app = create_app(settings, publisher=publisher)
    with running(app) as url:
        engine = build_engine(settings.database.url, role=Role.OPERATOR)
        database = Database(engine)
        ours, theirs = tenant(database, url, "ours"), tenant(database, url, "theirs")
        yield Service(
            url=url,
            app=app,
            store=object_store,
            publisher=publisher,
            ours=ours,
            theirs=theirs,
            engine=engine,
            database=database,
            s3=make_client(settings.storage, endpoint_url=settings.storage.endpoint_url),
        )
        engine.dispose()
        ours.http.close()
        theirs.http.close()


@pytest.fixture
def api(service: Service) -> httpx.Client:
    """Our tenant's client."""
    return service.ours.http


@pytest.fixture
def others(service: Service) -> httpx.Client:
    """Another tenant's client."""
    return service.theirs.http
