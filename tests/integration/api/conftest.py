"""One running API per module, with two tenants."""

import contextlib
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
from tests.integration.api.service import MIB, Service, Tenant, running, tenant


@pytest.fixture(scope="module")
def service_log() -> Iterator[io.StringIO]:
    """Everything that the service logs, as an operator would get it: JSON lines."""
    with logged() as stream:
        yield stream


@contextlib.contextmanager
def logged() -> Iterator[io.StringIO]:
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
    with served(service_settings, object_store) as service:
        yield service


@contextlib.contextmanager
def served(settings: Settings, store: S3Store) -> Iterator[Service]:
    settings = settings.model_copy(
        update={
            "uploads": settings.uploads.model_copy(
                update={"min_part_bytes": 5 * MIB, "max_size_bytes": 1024 * MIB}
            ),
            # Tests change keys behind the service's back; test_load.py is about the memory of them.
            "api": settings.api.model_copy(update={"key_cache_s": 0.0}),
            # Whole modules fail to log in, from one address; test_quotas.py is about how often one may.
            "quotas": settings.quotas.model_copy(update={"failed_logins_per_minute": 1_000_000}),
            "datasets": settings.datasets.model_copy(
                update={
                    "allowed_prefixes": (
                        f"s3://{store.bucket}/allowed/",
                        f"s3://{store.bucket}/of/{{project}}/",
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
        with tenants(database, url) as (ours, theirs):
            yield Service(
                url=url,
                app=app,
                store=store,
                publisher=publisher,
                ours=ours,
                theirs=theirs,
                engine=engine,
                database=database,
                s3=make_client(settings.storage, endpoint_url=settings.storage.endpoint_url),
            )
        engine.dispose()


@contextlib.contextmanager
def tenants(database: Database, url: str) -> Iterator[tuple[Tenant, Tenant]]:
    """Two new projects."""
    ours, theirs = tenant(database, url, "ours"), tenant(database, url, "theirs")
    yield ours, theirs
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
