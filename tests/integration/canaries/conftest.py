"""The whole service as processes, each with its log, whose every secret is a canary."""

import json
import secrets
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from sqlalchemy import Engine
from sqlalchemy.engine import make_url

from app.db.roles import Role
from app.db.session import Database, build_engine
from app.local.processes import free_ports
from app.settings import Settings
from app.storage.s3 import S3Store
from tests.end_to_end.gate import Gate
from tests.end_to_end.worker_processes import Processes
from tests.fixtures.webhooks import WEBHOOKS_KEY
from tests.integration.api.service import tenant
from tests.integration.canaries.collecting import Recorder
from tests.integration.canaries.journey import Journey
from tests.integration.canaries.search import Canaries
from tests.integration.worker.world import wait_until
from worker import signing_keys


class ServiceProcesses(Processes):
    def api(self, port: int) -> None:
        variables = {"CLEANCLIP_API__PORT": str(port), "CLEANCLIP_API__KEY_CACHE_S": "0"}
        self._start("api", [sys.executable, "-m", "app.main"], variables)

    def worker_with_canary_child(self) -> None:
        module = "tests.integration.canaries.worker_entry"
        options = ("worker", "--without-gossip", "--without-mingle")
        self._start("worker", [sys.executable, "-m", "celery", "-A", module, *options], {})


@dataclass(frozen=True, kw_only=True)
class Scene:
    journey: Journey
    owner: Engine
    """The login that owns the tables, and sees no row of them."""
    operator: Engine
    settings: Settings
    logs: Path
    work_dir: Path


@pytest.fixture(scope="module")
def canaries() -> Canaries:
    return Canaries()


@pytest.fixture(scope="module")
def gate(service_settings: Settings) -> Iterator[Gate]:
    address = urlsplit(service_settings.storage.endpoint_url or "")
    gate = Gate((address.hostname or "", address.port or 80))
    yield gate
    gate.close()


@pytest.fixture(scope="module")
def variables(
    service_environment: Mapping[str, str],
    service_settings: Settings,
    gate: Gate,
    canaries: Canaries,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, str]:
    """Secrets are canaries; those of the broker and the store, which check them, are watched as they are."""
    storage, password = service_settings.storage, canaries.new("signing_key_password")
    folder = tmp_path_factory.mktemp("signing")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLEANCLIP_SIGNING__KEY_PASSWORD", password)
        assert signing_keys.main(["new", str(folder)]) == 0
    canaries.keep("webhooks_key", WEBHOOKS_KEY)
    canaries.keep("store_secret_key", storage.secret_key.get_secret_value())
    canaries.keep("broker_password", make_url(service_settings.broker.url).password or "")
    url = make_url(service_settings.database.url).set(password=canaries.new("database_password"))
    return {
        **service_environment,
        "CLEANCLIP_DATABASE__URL": url.render_as_string(hide_password=False),
        "CLEANCLIP_STORAGE__ENDPOINT_URL": gate.url,
        "CLEANCLIP_STORAGE__PUBLIC_ENDPOINT_URL": storage.endpoint_url or "",
        "CLEANCLIP_STORAGE__READ_TIMEOUT_S": "1",
        "CLEANCLIP_STORAGE__MAX_ATTEMPTS": "1",
        "CLEANCLIP_DATASETS__ALLOWED_PREFIXES": json.dumps([f"s3://{storage.bucket}/allowed/"]),
        "CLEANCLIP_SIGNING__KEY_FILE": str(folder / signing_keys.PRIVATE_NAME),
        "CLEANCLIP_SIGNING__KEY_PASSWORD": password,
        "CLEANCLIP_WEBHOOKS__ALLOW_LOOPBACK": "true",
        "CLEANCLIP_LOG__LEVEL": "DEBUG",
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("canaries")


@pytest.fixture(scope="module")
def processes(variables: Mapping[str, str], folder: Path) -> Iterator[ServiceProcesses]:
    processes = ServiceProcesses(variables, folder)
    yield processes
    processes.stop()


@pytest.fixture(scope="module")
def scene(
    processes: ServiceProcesses, folder: Path, service_settings: Settings, gate: Gate, canaries: Canaries
) -> Iterator[Scene]:
    operator = build_engine(service_settings.database.url, role=Role.OPERATOR)
    owner = build_engine(service_settings.database.url)
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    processes.api(port)
    processes.worker_with_canary_child()
    processes.sweeper()
    processes.deliverer()
    wait_until(lambda: answers(url), timeout_s=60)
    someone = tenant(Database(operator), url, f"canaries {secrets.token_hex(4)}")
    record = Recorder(url)
    journey = Journey(
        record=record,
        engine=owner,
        store=S3Store(service_settings.storage),
        gate=gate,
        work_dir=folder / "worker-work",
        admin_key=someone.key,
        canaries=canaries,
    )
    yield Scene(
        journey=journey,
        owner=owner,
        operator=operator,
        settings=service_settings,
        logs=folder,
        work_dir=journey.work_dir,
    )
    record.close()
    someone.http.close()
    operator.dispose()
    owner.dispose()


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False
