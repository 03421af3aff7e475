"""Shares of the service: refused with 429, what and how much; and no two requests take the last place."""

import base64
import hashlib
import os
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from app.db.models.project import ProjectQuota
from app.domain.ids import new_id
from app.domain.states import DatasetKind, JobState
from app.main import create_app
from app.settings import Settings
from tests.fakes.job_publisher import FakeJobPublisher
from tests.fakes.rates import FakeRates
from tests.integration.api.service import MIB, Service, Tenant, refused, running, tenant

POLICY = re.compile(r'"project";q=(\d+);w=60')
LIMIT = re.compile(r'"project";r=(\d+);t=(\d+)')


@pytest.fixture
def fresh(service: Service) -> Tenant:
    """A project of its own."""
    return tenant(service.database, service.url, new_id("prj"))


def limit(service: Service, to: Tenant, **limits: int) -> None:
    with service.database.unit_of_work() as unit:
        unit.quotas.set(ProjectQuota(project_id=to.project_id, **limits))


def order(service: Service, of: Tenant) -> dict[str, Any]:
    return {
        "kind": "audit",
        "checkpoint_id": service.checkpoint(project_id=of.project_id),
        "audit": {
            "dataset_id": service.dataset(DatasetKind.LABELLED, project_id=of.project_id),
            "target": "banana",
        },
    }


def announce(to: Tenant, size_bytes: int) -> httpx.Response:
    return to.http.post("/v1/uploads", json={"filename": "x.pt", "size_bytes": size_bytes})


def test_every_answer_to_a_key_says_what_is_left_of_its_requests(service: Service, fresh: Tenant) -> None:
    limit(service, fresh, requests_per_minute=50)
    left = []
    for path in ("/v1/jobs", "/v1/usage", "/v1/jobs/job_00000000000000000000000000", "/v1/methods"):
        answer = fresh.http.get(path)
        policy, found = (
            POLICY.fullmatch(answer.headers["RateLimit-Policy"]),
            LIMIT.fullmatch(answer.headers["RateLimit"]),
        )
        assert policy
        assert found
        assert policy[1] == "50"
        assert 1 <= int(found[2]) <= 60
        left.append(int(found[1]))
    assert left == [49, 48, 47, 46]
    assert "RateLimit" not in httpx.get(f"{service.url}/v1/jobs").headers, "a stranger has no share"


def test_one_request_too_many_is_refused_and_told_when_to_come_again(service: Service, fresh: Tenant) -> None:
    limit(service, fresh, requests_per_minute=3)
    etag = fresh.http.get("/v1/jobs").headers["ETag"]
    assert fresh.http.get("/v1/jobs", headers={"If-None-Match": etag}).status_code == 304
    assert fresh.http.get("/v1/jobs", headers={"If-None-Match": etag}).status_code == 304, "each one counts"
    problem = refused(fresh.http.get("/v1/jobs", headers={"If-None-Match": etag}), 429, "rate_limited")
    assert problem["quota"] == {"name": "requests_per_minute", "limit": 3, "current": 3, "wanted": 1}
    body = fresh.http.post("/v1/jobs", content=b"{", headers={"Content-Type": "application/json"})
    refused(body, 429, "rate_limited")  # before its body is read, which costs more than to count it
    assert service.ours.http.get("/v1/jobs").status_code == 200, "another project is not concerned"


def test_more_waiting_jobs_than_the_quota_are_refused_also_when_two_come_at_once(
    service: Service, fresh: Tenant
) -> None:
    limit(service, fresh, waiting_jobs=3)
    body = order(service, fresh)
    start = threading.Barrier(8)

    def create(_: int) -> httpx.Response:
        start.wait()
        return fresh.http.post("/v1/jobs", json=body)

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(create, range(8)))
    assert sorted(answer.status_code for answer in answers) == [202] * 3 + [429] * 5
    with service.nothing_left_behind():
        problem = refused(fresh.http.post("/v1/jobs", json=body), 429, "quota_exceeded")
    assert problem["quota"] == {"name": "waiting_jobs", "limit": 3, "current": 3, "wanted": 1}


def test_a_job_that_is_resumed_or_retried_needs_a_place_as_a_new_one_does(
    service: Service, fresh: Tenant
) -> None:
    limit(service, fresh, waiting_jobs=1)
    body = order(service, fresh)
    paused, failed = (create_and_pause(fresh, body) for _ in range(2))
    service.set_job(failed, JobState.FAILED, error='{"code": "child_crashed", "message": "it ended"}')
    waiting = fresh.http.post("/v1/jobs", json=body).json()["id"]
    for path in (f"{paused}/resume", f"{failed}/retry"):
        with service.nothing_left_behind():
            problem = refused(fresh.http.post(f"/v1/jobs/{path}"), 429, "quota_exceeded")
        assert problem["quota"] == {"name": "waiting_jobs", "limit": 1, "current": 1, "wanted": 1}
    service.execute(
        "UPDATE jobs SET pause_requested_at = now(), state = 'running' WHERE id = :id", id=waiting
    )
    assert fresh.http.post(f"/v1/jobs/{paused}/resume").status_code == 202
    assert fresh.http.post(f"/v1/jobs/{waiting}/resume").status_code == 202, "it runs, and needs no place"


def create_and_pause(to: Tenant, body: dict[str, Any]) -> str:
    job_id = str(to.http.post("/v1/jobs", json=body).json()["id"])
    assert to.http.post(f"/v1/jobs/{job_id}/pause").status_code == 202
    return job_id


def test_validations_and_inspections_wait_as_any_job_and_need_a_place(
    service: Service, fresh: Tenant
) -> None:
    limit(service, fresh, waiting_jobs=1)
    shards, upload, late = (sent(fresh, purpose) for purpose in ("dataset", "checkpoint", "checkpoint"))
    assert fresh.http.post(f"/v1/uploads/{shards}/complete").status_code == 200, "shards wait for nothing yet"
    body = {"kind": "pairs", "upload_id": shards}
    assert fresh.http.post(f"/v1/uploads/{upload}/complete").status_code == 200
    assert fresh.http.post(f"/v1/uploads/{upload}/complete").status_code == 200, "again, and nothing is new"
    with service.nothing_left_behind():
        refused(fresh.http.post("/v1/datasets", json=body), 429, "quota_exceeded")
        refused(fresh.http.post(f"/v1/uploads/{late}/complete"), 429, "quota_exceeded")
    assert fresh.http.get("/v1/usage").json()["waiting_jobs"] == {"limit": 1, "current": 1}
    service.execute("UPDATE jobs SET state = 'running' WHERE project_id = :project", project=fresh.project_id)
    assert fresh.http.post("/v1/datasets", json=body).status_code == 202
    refused(fresh.http.post("/v1/jobs", json=order(service, fresh)), 429, "quota_exceeded")
    limit(service, fresh, waiting_jobs=2)
    assert fresh.http.post(f"/v1/uploads/{late}/complete").status_code == 200, "its parts are still there"


def sent(to: Tenant, purpose: str) -> str:
    """The id of an open upload whose bytes are all there."""
    upload = to.http.post("/v1/uploads", json={"filename": "x", "size_bytes": 3, "purpose": purpose}).json()
    assert to.http.put(f"/v1/uploads/{upload['id']}/content", content=b"abc").status_code == 200
    return str(upload["id"])


def test_bytes_in_flight_are_the_declared_sizes_of_open_uploads(service: Service, fresh: Tenant) -> None:
    limit(service, fresh, bytes_in_flight=30 * MIB)
    first = announce(fresh, 20 * MIB)
    assert first.status_code == 201
    with service.nothing_left_behind():
        problem = refused(announce(fresh, 11 * MIB), 429, "quota_exceeded")
    assert problem["quota"] == {
        "name": "bytes_in_flight",
        "limit": 30 * MIB,
        "current": 20 * MIB,
        "wanted": 11 * MIB,
    }
    assert fresh.http.post(f"/v1/uploads/{first.json()['id']}/cancel").status_code == 200
    assert announce(fresh, 11 * MIB).status_code == 201


def test_only_so_many_uploads_are_open_and_expired_ones_do_not_count(service: Service, fresh: Tenant) -> None:
    limit(service, fresh, open_uploads=2)
    first, _ = announce(fresh, 1), announce(fresh, 1)
    with service.nothing_left_behind():
        problem = refused(announce(fresh, 1), 429, "quota_exceeded")
    assert problem["quota"] == {"name": "open_uploads", "limit": 2, "current": 2, "wanted": 1}
    upload_id = first.json()["id"]
    service.execute("UPDATE uploads SET expires_at = now() - interval '1 s' WHERE id = :id", id=upload_id)
    assert announce(fresh, 1).status_code == 201
    assert fresh.http.get("/v1/usage").json()["open_uploads"] == {"limit": 2, "current": 2}


def test_rows_of_the_database_count_as_large_as_they_are(service: Service, fresh: Tenant) -> None:
    names = [f"{n:05d} " + hashlib.sha256(str(n).encode()).hexdigest() for n in range(10_000)]
    uri = f"s3://{service.store.bucket}/allowed/rows/0.tar"
    service.store.put_bytes("allowed/rows/0.tar", b"\0" * 1024)
    body = {"kind": "labelled", "uri": uri, "class_names": names}
    assert fresh.http.post("/v1/datasets", json=body).status_code == 202
    used = fresh.http.get("/v1/usage").json()["row_bytes"]["current"]
    assert used > 500_000
    limit(service, fresh, row_bytes=used)
    with service.nothing_left_behind():
        for answer in (fresh.http.post("/v1/datasets", json=body), announce(fresh, 1)):
            problem = refused(answer, 429, "quota_exceeded")
            assert problem["quota"] == {"name": "row_bytes", "limit": used, "current": used, "wanted": 1}
            assert "Retry-After" not in answer.headers


def test_images_of_an_order_count_as_bytes_of_the_database(service: Service, fresh: Tenant) -> None:
    body = order(service, fresh)
    assert fresh.http.post("/v1/jobs", json=body).status_code == 202
    before = fresh.http.get("/v1/usage").json()["row_bytes"]["current"]
    picture = base64.b64encode(b"\x89PNG\r\n\x1a\n" + os.urandom(40_000)).decode()
    body["audit"]["attacks"] = [{"attack": "custom_patch", "image": picture}]
    answer = fresh.http.post("/v1/jobs", json=body)
    assert answer.status_code == 202, answer.text
    assert fresh.http.get("/v1/usage").json()["row_bytes"]["current"] > before + 40_000


def test_of_uploads_announced_at_once_only_as_many_as_fit_pass(service: Service, fresh: Tenant) -> None:
    limit(service, fresh, bytes_in_flight=50 * MIB)
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: announce(fresh, 20 * MIB), range(8)))
    assert sorted(answer.status_code for answer in answers) == [201] * 2 + [429] * 6


def test_a_full_project_takes_no_upload_and_no_job_and_waiting_does_not_help(
    service: Service, fresh: Tenant
) -> None:
    body = order(service, fresh)
    service.execute(
        "UPDATE checkpoints SET size_bytes = 1000,"
        " upload_object_key = 'uploads/' || project_id || '/' || upload_id WHERE project_id = :project",
        project=fresh.project_id,
    )
    limit(service, fresh, stored_bytes=1000)
    for answer in (announce(fresh, 1), fresh.http.post("/v1/jobs", json=body)):
        problem = refused(answer, 429, "quota_exceeded")
        assert problem["quota"]["name"] == "stored_bytes"
        assert problem["quota"]["current"] == 1000
        assert "Retry-After" not in answer.headers


def test_usage_says_what_is_used_and_what_may_be(service: Service, fresh: Tenant) -> None:
    limit(service, fresh, waiting_jobs=7, requests_per_minute=100)
    assert fresh.http.post("/v1/jobs", json=order(service, fresh)).status_code == 202
    announce(fresh, 3 * MIB)
    usage = fresh.http.get("/v1/usage").json()
    assert usage["waiting_jobs"] == {"limit": 7, "current": 1}
    assert usage["running_jobs"] == {"limit": 16, "current": 0}
    assert usage["bytes_in_flight"]["current"] == 3 * MIB
    assert usage["stored_bytes"]["current"] == 0
    assert usage["requests_per_minute"] == {"limit": 100, "current": 3}
    assert service.ours.http.get("/v1/usage").json()["bytes_in_flight"]["current"] == 0


@pytest.mark.parametrize("blocks", [False, True])
def test_failed_logins_of_an_address_are_limited_and_valid_keys_pass_unless_told_otherwise(
    service_settings: Settings, service: Service, blocks: bool
) -> None:
    quotas = service_settings.quotas.model_copy(
        update={"failed_logins_per_minute": 4, "block_failing_addresses": blocks}
    )
    rates = FakeRates()
    app = create_app(
        service_settings.model_copy(update={"quotas": quotas}), publisher=FakeJobPublisher(), rates=rates
    )
    with running(app) as url, httpx.Client(base_url=url) as stranger:
        key = service.ours.key
        wrong = {"Authorization": f"Bearer {key[:-1]}{'y' if key.endswith('x') else 'x'}"}
        assert [stranger.get("/v1/jobs", headers=wrong).status_code for _ in range(4)] == [401] * 4
        refused(stranger.get("/v1/jobs", headers=wrong), 429, "login_rate_limited")
        refused(stranger.get("/v1/jobs"), 429, "login_rate_limited")
        right = {"Authorization": f"Bearer {service.ours.key}"}
        assert stranger.get("/v1/jobs", headers=right).status_code == (429 if blocks else 200)
        rates.clock_s += 61
        assert stranger.get("/v1/jobs", headers=right).status_code == 200


def test_a_hundred_clients_at_once_get_no_more_than_the_limit_says_and_every_answer_is_counted(
    service: Service, fresh: Tenant
) -> None:
    """Fewer where the broker's answer to a batch came too late on a busy machine: that batch is spent."""
    limit(service, fresh, requests_per_minute=40)
    with ThreadPoolExecutor(100) as threads:
        answers = list(threads.map(lambda _: fresh.http.get("/v1/methods"), range(140)))
    codes = [answer.status_code for answer in answers]
    assert codes.count(200) + codes.count(429) == 140
    assert 20 <= codes.count(200) <= 40
    assert all("RateLimit" in answer.headers for answer in answers)
    assert "cleanclip_rate_limit_outages_total 0.0" in httpx.get(f"{service.url}/metrics").text


def test_without_a_broker_a_process_counts_alone_and_a_metric_tells(
    service_settings: Settings, service: Service
) -> None:
    broker = service_settings.broker.model_copy(update={"url": "redis://127.0.0.1:1/0"})
    app = create_app(service_settings.model_copy(update={"broker": broker}), publisher=FakeJobPublisher())
    with running(app) as url:
        started = time.perf_counter()
        answer = httpx.get(f"{url}/v1/usage", headers={"Authorization": f"Bearer {service.ours.key}"})
        assert time.perf_counter() - started < 5
        assert answer.status_code == 200
        assert answer.headers["RateLimit"].startswith('"project";r=5999;')
        assert "cleanclip_rate_limit_outages_total 1.0" in httpx.get(f"{url}/metrics").text
