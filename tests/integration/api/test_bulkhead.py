"""The object store hangs, the database cannot write: what needs neither is answered; readiness says so."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx
import pytest
from sqlalchemy.engine import make_url

from app.main import create_app
from app.settings import Settings
from lab.drills.filling import connect
from tests.fixtures.store_proxy import CuttingProxy
from tests.integration.api.service import Service, refused, running

NUM_REQUESTS = 60
QUICK_S = 3.0
"""For a request that needs no store, on a busy machine. Readiness gives each part two seconds."""


@pytest.fixture
def proxy(service_settings: Settings) -> Iterator[CuttingProxy]:
    address = urlsplit(service_settings.storage.endpoint_url or "")
    proxy = CuttingProxy((address.hostname or "", address.port or 0))
    yield proxy
    proxy.flows.set()
    proxy.close()


@pytest.fixture
def client(service: Service, service_settings: Settings, proxy: CuttingProxy) -> Iterator[httpx.Client]:
    """To an API that reaches its store through the proxy, and waits a second for it."""
    settings = service_settings.model_copy(
        update={
            "storage": service_settings.storage.model_copy(update={"endpoint_url": proxy.url}),
            "api": service_settings.api.model_copy(update={"store_timeout_s": 1.0}),
        }
    )
    app = create_app(settings, publisher=service.publisher)
    app.state.ports.readiness.every_s = 0.0
    limits = httpx.Limits(max_connections=None)
    headers = {"Authorization": f"Bearer {service.ours.key}"}
    with (
        running(app) as url,
        httpx.Client(base_url=url, headers=headers, limits=limits, timeout=30.0) as client,
    ):
        yield client


def test_a_store_that_hangs_costs_those_who_need_it_a_moment_and_the_others_nothing(
    service: Service, client: httpx.Client, proxy: CuttingProxy
) -> None:
    job = client.post("/v1/jobs", json=service.sanitize_order()).json()["id"]
    upload = {"filename": "clip.pt", "size_bytes": 3, "purpose": "checkpoint"}
    assert client.post("/v1/uploads", json=upload).status_code == 201
    assert client.get("/readyz").json()["store"] == "ok"

    proxy.flows.clear()
    with ThreadPoolExecutor(NUM_REQUESTS) as threads:
        asking = [
            threads.submit(client.post, "/v1/uploads", json={**upload, "filename": f"{number}.pt"})
            for number in range(NUM_REQUESTS)
        ]
        time.sleep(0.3)
        for path in (f"/v1/jobs/{job}", "/v1/jobs", "/v1/uploads/nothing", "/healthz", "/readyz"):
            began_s = time.monotonic()
            client.get(path, timeout=QUICK_S)
            assert time.monotonic() - began_s < QUICK_S, path
        answers = [future.result() for future in asking]
    for answer in answers:
        refused(answer, 503, "store_unavailable")
        assert 1 <= int(answer.headers["Retry-After"]) <= 5
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json()["store"], ready.json()["database"]) == (503, "failing", "ok")

    took_s = []
    for _ in range(3):  # a busy machine may hold one up
        began_s = time.monotonic()
        refused(client.post("/v1/uploads", json=upload), 503, "store_unavailable")
        took_s.append(time.monotonic() - began_s)
    assert min(took_s) < 0.9, "the breaker is open: nobody waits for the store"
    metrics = client.get("/metrics").text
    for reason in ("busy", "late", "open"):
        assert f'cleanclip_store_refusals_total{{reason="{reason}"}}' in metrics

    proxy.flows.set()
    deadline = time.monotonic() + 30
    while client.post("/v1/uploads", json=upload).status_code != 201:
        assert time.monotonic() < deadline, "the store is back and was not asked again"
        time.sleep(0.2)
    assert client.get("/readyz").json()["store"] == "ok"


def test_a_database_that_answers_and_cannot_write_is_not_ready(
    service: Service, service_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service.ports.readiness, "every_s", 0.0)
    assert httpx.get(f"{service.url}/readyz").json()["database"] == "ok"
    url = service_settings.database.url
    name = make_url(url).database
    with connect(url) as superuser:
        # A limit on files fails as a full disk does, in the one place that a test can reach.
        superuser.execute(f'ALTER DATABASE "{name}" SET temp_file_limit = 0'.encode())
        service.ports.database.dispose()
        try:
            assert service.ours.http.get("/v1/jobs").status_code == 200
            answer = httpx.get(f"{service.url}/readyz")
        finally:
            superuser.execute(f'ALTER DATABASE "{name}" RESET temp_file_limit'.encode())
            service.ports.database.dispose()
    assert (answer.status_code, answer.json()["database"]) == (503, "failing")
    assert httpx.get(f"{service.url}/readyz").json()["database"] == "ok"
