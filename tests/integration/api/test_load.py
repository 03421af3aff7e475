"""What makes the API quick must not be seen: revocation is late by a bound, cut connections are replaced."""

import time

import httpx
from sqlalchemy import text

from app.main import create_app
from app.services import api_keys
from app.settings import Settings
from tests.integration.api.service import Service, refused, running


def test_a_revoked_key_is_refused_within_the_time_that_is_configured(
    service: Service, service_settings: Settings
) -> None:
    keep_s = 0.5
    api = service_settings.api.model_copy(update={"key_cache_s": keep_s})
    app = create_app(service_settings.model_copy(update={"api": api}), publisher=service.publisher)
    with service.database.unit_of_work() as unit:
        row, key = api_keys.issue(unit, project_id=service.ours.project_id, name="soon revoked")
    with (
        running(app) as url,
        httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}) as client,
    ):
        assert client.get("/v1/jobs").status_code == 200
        service.execute("UPDATE api_keys SET revoked_at = now() WHERE id = :id", id=row.id)
        revoked_at = time.monotonic()
        while client.get("/v1/jobs").status_code == 200:
            assert time.monotonic() - revoked_at < keep_s + 2.0, "a revoked key is still believed"
            time.sleep(0.02)
        refused(client.get("/v1/jobs"), 401, "invalid_key")


def test_a_poll_sees_what_was_committed_before_it(service: Service, api: httpx.Client) -> None:
    job = api.post("/v1/jobs", json=service.sanitize_order()).json()
    for number in range(20):
        service.execute("UPDATE jobs SET version = version + 1 WHERE id = :id", id=job["id"])
        seen = api.get(f"/v1/jobs/{job['id']}", headers={"If-None-Match": f'"{job["etag"]}"'})
        assert seen.status_code == 200, number
        job = seen.json()
        again = api.get(f"/v1/jobs/{job['id']}", headers={"If-None-Match": f'"{job["etag"]}"'})
        assert again.status_code == 304


def test_a_foreign_job_is_not_found_by_a_poll_with_or_without_an_etag(
    service: Service, api: httpx.Client, others: httpx.Client
) -> None:
    job = api.post("/v1/jobs", json=service.sanitize_order()).json()
    for headers in ({}, {"If-None-Match": f'"{job["etag"]}"'}):
        refused(others.get(f"/v1/jobs/{job['id']}", headers=headers), 404, "job_not_found")


def test_connections_that_were_cut_while_idle_are_replaced_unseen(
    service: Service, api: httpx.Client
) -> None:
    assert api.get("/v1/jobs").status_code == 200
    time.sleep(1.2)  # longer than a connection is trusted without a ping
    with service.engine.begin() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid() AND state = 'idle'"
            )
        )
    assert api.get("/v1/jobs").status_code == 200


def test_a_create_asks_the_database_nine_times(service: Service, api: httpx.Client) -> None:
    """Each statement costs the API and the database some tenths of a millisecond."""
    order = service.sanitize_order()
    with service.statements() as asked:
        assert api.post("/v1/jobs", json=order).status_code == 202
    first = next(number for number, one in enumerate(asked) if "pg_advisory_xact_lock" in one)
    assert len(asked) - first == 9, asked[first:]
