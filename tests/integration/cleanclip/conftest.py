"""One running API per module; a client whose cache lies in the test's own folder, on a faulty network."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.db.roles import Role
from app.db.session import Database, build_engine
from app.main import create_app
from app.settings import Settings
from app.storage.s3 import S3Store
from cleanclip.retries import Retries
from cleanclip.sync.client import Client
from tests.fakes.job_publisher import FakeJobPublisher
from tests.integration.api.service import running
from tests.integration.cleanclip.served import MIB, Served, new_key
from tests.integration.cleanclip.wires import Wires
from tests.suites import mostly_full
from tests.unit.cleanclip.bridge import client_of_kind


@pytest.fixture(scope="module")
def served(service_settings: Settings, object_store: S3Store) -> Iterator[Served]:
    """Parts of 5 MiB, the smallest that S3 takes; datasets below s3://<bucket>/allowed/ only."""
    uploads = service_settings.uploads.model_copy(update={"min_part_bytes": 5 * MIB})
    allowed = (f"s3://{object_store.bucket}/allowed/",)
    datasets = service_settings.datasets.model_copy(update={"allowed_prefixes": allowed})
    settings = service_settings.model_copy(update={"uploads": uploads, "datasets": datasets})
    app = create_app(settings, publisher=FakeJobPublisher())
    with running(app) as url:
        database = Database(build_engine(settings.database.url, role=Role.OPERATOR))
        project_id, key = new_key(database, "ours")
        yield Served(url=url, database=database, store=object_store, project_id=project_id, key=key)
        database.dispose()


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Configuration and cache of this test only."""
    monkeypatch.setenv("CLEANCLIP_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("CLEANCLIP_CONFIG", str(tmp_path / "config.json"))
    monkeypatch.delenv("CLEANCLIP_URL", raising=False)
    monkeypatch.delenv("CLEANCLIP_API_KEY", raising=False)
    monkeypatch.delenv("CLEANCLIP_PROFILE", raising=False)
    return tmp_path


@pytest.fixture
def wires() -> Wires:
    """The network, with everything that went over it written down, and faults on demand."""
    return Wires()


@pytest.fixture(params=mostly_full(["sync", "async"], daily=["async"]))
def client(served: Served, wires: Wires, request: pytest.FixtureRequest) -> Iterator[Client]:
    """Of our project; does not wait long between tries. Daily it is the one that the other is made from."""
    retries = Retries(max_tries=3, base_s=0.01)
    with client_of_kind(request.param, served.url, served.key, transport=wires, retries=retries) as found:
        yield found
