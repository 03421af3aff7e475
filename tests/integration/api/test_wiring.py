"""The application as an operator starts it: real broker, and what happens when a part is not there at all."""

import time
from collections.abc import Iterator

import httpx
import pytest

from app.db.roles import Role
from app.db.session import Database, build_engine
from app.domain.states import JobKind
from app.main import create_app
from app.services.api_keys import checksum
from app.settings import Settings
from app.storage.s3 import S3Store
from tests.integration.api.service import refused, running, tenant

NOBODY = "127.0.0.1:1"
"""An address where nothing listens."""


@pytest.fixture
def operators(service_settings: Settings) -> Iterator[Database]:
    """As operators see the database."""
    database = Database(build_engine(service_settings.database.url, role=Role.OPERATOR))
    yield database
    database.dispose()


def test_a_registered_data_set_puts_a_hint_into_the_real_broker(
    service_settings: Settings, object_store: S3Store, operators: Database
) -> None:
    prefix = f"s3://{object_store.bucket}/x/"
    object_store.put_bytes("x/a.tar", bytes(1024))
    settings = service_settings.model_copy(
        update={"datasets": service_settings.datasets.model_copy(update={"allowed_prefixes": (prefix,)})}
    )
    app = create_app(settings)
    ports = app.state.ports
    with running(app) as url:
        ours = tenant(operators, url, "wired")
        assert httpx.get(f"{url}/readyz").json()["status"] == "ready"
        assert ports.publisher.depth() == 0
        answer = ours.http.post("/v1/datasets", json={"kind": "pairs", "uri": prefix})
        assert answer.status_code == 202, answer.text
        assert ports.publisher.depth() == 1
        ours.http.close()


def test_a_job_is_accepted_without_any_broker_and_within_seconds(
    service_settings: Settings, object_store: S3Store, operators: Database
) -> None:
    prefix = f"s3://{object_store.bucket}/y/"
    object_store.put_bytes("y/a.tar", bytes(1024))
    settings = service_settings.model_copy(
        update={
            "datasets": service_settings.datasets.model_copy(update={"allowed_prefixes": (prefix,)}),
            "broker": service_settings.broker.model_copy(update={"url": f"redis://{NOBODY}/0"}),
        }
    )
    app = create_app(settings)
    with running(app) as url:
        ours = tenant(operators, url, "no broker")
        started = time.monotonic()
        answer = ours.http.post("/v1/datasets", json={"kind": "pairs", "uri": prefix})
        assert answer.status_code == 202, answer.text
        assert time.monotonic() - started < 20
        ready = httpx.get(f"{url}/readyz", timeout=30)
        assert (ready.status_code, ready.json()["broker"]) == (200, "failing")
        ours.http.close()
    with operators.unit_of_work() as unit:
        kinds = [message.payload["kind"] for message in unit.outbox.pending(10)]
    assert JobKind.VALIDATE in kinds, "the sweeper will tell the workers"


def test_without_a_database_requests_are_503_and_the_process_stays_alive(service_settings: Settings) -> None:
    database = service_settings.database.model_copy(update={"url": f"postgresql://nobody@{NOBODY}/none"})
    app = create_app(service_settings.model_copy(update={"database": database}))
    with running(app) as url:
        key = "cclip_live_" + "0" * 26 + "_" + "0" * 32
        answer = httpx.get(f"{url}/v1/jobs", headers={"Authorization": f"Bearer {key}xxxxxx"}, timeout=30)
        refused(answer, 401, "invalid_key")
        well_formed = key + checksum(key)
        answer = httpx.get(f"{url}/v1/jobs", headers={"Authorization": f"Bearer {well_formed}"}, timeout=30)
        problem = refused(answer, 503, "database_unavailable")
        assert "nobody" not in str(problem)
        assert httpx.get(f"{url}/healthz", timeout=30).status_code == 200
        ready = httpx.get(f"{url}/readyz", timeout=30)
        assert (ready.status_code, ready.json()["database"]) == (503, "failing")
        metrics = httpx.get(f"{url}/metrics", timeout=30)
        assert metrics.status_code == 200
        assert "cleanclip_http_requests_total" in metrics.text
