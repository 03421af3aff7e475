"""Idempotency-Key: repeated, reused, in flight, refused first, and forgotten after a day."""

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from app.services import jobs
from tests.integration.api.service import Service, refused


def key() -> dict[str, str]:
    return {"Idempotency-Key": str(uuid.uuid4())}


def test_a_repeated_post_gets_the_stored_answer_only(service: Service, api: httpx.Client) -> None:
    order, headers = service.sanitize_order(), key()
    first = api.post("/v1/jobs", json=order, headers=headers)
    api.post(f"/v1/jobs/{first.json()['id']}/cancel")
    sent = len(service.publisher.sent)
    with service.nothing_left_behind():
        second = api.post("/v1/jobs", json=order, headers=headers)
    assert second.status_code == first.status_code == 202
    assert second.json() == first.json(), "as it was then, although the job has changed since"
    assert second.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    assert second.headers["location"] == first.headers["location"]
    assert len(service.publisher.sent) == sent


def test_without_a_key_every_post_is_new(service: Service, api: httpx.Client) -> None:
    order = service.sanitize_order()
    ids = {api.post("/v1/jobs", json=order).json()["id"] for _ in range(2)}
    assert len(ids) == 2


def test_the_same_key_with_another_body_is_refused(service: Service, api: httpx.Client) -> None:
    order, headers = service.sanitize_order(), key()
    api.post("/v1/jobs", json=order, headers=headers)
    with service.nothing_left_behind():
        answer = api.post("/v1/jobs", json=order | {"seed": 5}, headers=headers)
        refused(answer, 422, "idempotency_key_reused")


def test_the_same_key_at_another_address_is_refused(service: Service, api: httpx.Client) -> None:
    job = api.post("/v1/jobs", json=service.sanitize_order()).json()["id"]
    headers = key()
    assert api.post(f"/v1/jobs/{job}/pause", headers=headers).status_code == 202
    refused(api.post(f"/v1/jobs/{job}/resume", headers=headers), 422, "idempotency_key_reused")


def test_keys_of_two_tenants_do_not_meet(service: Service, api: httpx.Client, others: httpx.Client) -> None:
    headers = key()
    body = {"filename": "x", "size_bytes": 1}
    first = api.post("/v1/uploads", json=body, headers=headers).json()["id"]
    second = others.post("/v1/uploads", json=body | {"size_bytes": 2}, headers=headers)
    assert second.status_code == 201
    assert second.json()["id"] != first


def test_a_refused_post_leaves_its_key_free(service: Service, api: httpx.Client) -> None:
    order, headers = service.sanitize_order(), key()
    wrong = order | {"audit": order["audit"] | {"target": "nothing"}}
    refused(api.post("/v1/jobs", json=wrong, headers=headers), 422, "unknown_target")
    assert api.post("/v1/jobs", json=order, headers=headers).status_code == 202


def test_a_key_that_is_in_flight_is_a_conflict(
    service: Service, api: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    order, headers = service.sanitize_order(), key()
    is_inside, may_go_on = threading.Event(), threading.Event()
    real = jobs.create

    def slow(*args: Any) -> Any:
        is_inside.set()
        assert may_go_on.wait(20)
        return real(*args)

    monkeypatch.setattr(jobs, "create", slow)
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(api.post, "/v1/jobs", json=order, headers=headers)
        assert is_inside.wait(20)
        try:
            refused(api.post("/v1/jobs", json=order, headers=headers), 409, "idempotency_key_in_flight")
        finally:
            may_go_on.set()
        assert first.result().status_code == 202
    assert api.post("/v1/jobs", json=order, headers=headers).json() == first.result().json()


def test_many_at_once_with_one_key_create_one_job(service: Service, api: httpx.Client) -> None:
    order, headers = service.sanitize_order(), key()
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: api.post("/v1/jobs", json=order, headers=headers), range(16)))
    assert {answer.status_code for answer in answers} <= {202, 409}
    assert len({answer.json()["id"] for answer in answers if answer.status_code == 202}) == 1


def test_an_old_key_is_forgotten(service: Service, api: httpx.Client) -> None:
    order, headers = service.sanitize_order(), key()
    first = api.post("/v1/jobs", json=order, headers=headers).json()["id"]
    service.execute(
        "UPDATE idempotency_keys SET expires_at = now() WHERE key = :key", key=headers["Idempotency-Key"]
    )
    assert api.post("/v1/jobs", json=order, headers=headers).json()["id"] != first


@pytest.mark.parametrize("unusable", ["", "with space", "x" * 256])
def test_an_unusable_key_is_refused(service: Service, api: httpx.Client, unusable: str) -> None:
    with service.nothing_left_behind():
        answer = api.post("/v1/jobs", json=service_free_order(), headers={"Idempotency-Key": unusable})
        refused(answer, 422, "idempotency_key_invalid")


def service_free_order() -> dict[str, Any]:
    """A well-formed order of things that do not exist."""
    zeros = "0" * 26
    return {
        "kind": "audit",
        "checkpoint_id": f"ckpt_{zeros}",
        "audit": {"dataset_id": f"ds_{zeros}", "target": "x"},
    }


def test_a_repeated_announcement_gets_the_same_upload_with_fresh_urls(api: httpx.Client) -> None:
    body, headers = {"filename": "x.pt", "size_bytes": 7 * 1024 * 1024}, key()
    first = api.post("/v1/uploads", json=body, headers=headers)
    second = api.post("/v1/uploads", json=body, headers=headers)
    assert (first.status_code, second.status_code) == (201, 201)
    assert second.headers["idempotency-replayed"] == "true"
    assert first.json() | {"parts": None} == second.json() | {"parts": None}
    assert len(second.json()["parts"]) == 2
    put = httpx.put(second.json()["parts"][1]["url"], content=bytes(2 * 1024 * 1024))
    assert put.status_code == 200


def test_every_post_takes_a_key(service: Service) -> None:
    document = httpx.get(f"{service.url}/v1/openapi.json", timeout=60).json()
    for path, operations in document["paths"].items():
        if "post" not in operations or path.endswith(("/parts", "/dry-run", "/check")):  # create nothing
            continue
        names = [parameter["name"] for parameter in operations["post"]["parameters"]]
        assert "idempotency-key" in names, path
