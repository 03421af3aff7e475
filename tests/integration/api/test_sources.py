"""Ordering a checkpoint that the service fetches: what is taken, what is refused, what it counts as."""

from typing import Any

import httpx
import pytest

from tests.integration.api.service import MIB, Service, refused

HUB = "hf://openai/clip-vit-base-patch32@main"


def order(api: httpx.Client, source: str, **more: Any) -> httpx.Response:
    return api.post("/v1/checkpoints", json={"source": source, **more})


def test_an_order_makes_a_checkpoint_without_bytes_and_wakes_its_inspection(
    service: Service, api: httpx.Client
) -> None:
    answer = order(api, HUB, max_size_bytes=MIB, declared={"quick_gelu": True})
    assert answer.status_code == 202, answer.text
    made = answer.json()
    assert answer.headers["location"] == f"/v1/checkpoints/{made['id']}"
    assert (made["state"], made["size_bytes"], made["sha256"]) == ("quarantined", MIB, None)
    assert made["filename"] == "clip-vit-base-patch32"
    assert made["declared"]["quick_gelu"] is True
    nothing = dict.fromkeys(("commit", "path", "size_bytes", "sha256", "fetched_at"))
    assert made["source"] == {"ordered": HUB, **nothing}
    with service.database.unit_of_work() as unit:
        row = unit.checkpoints.get(service.ours.project_id, made["id"])
    assert row.inspect_job_id in {job_id for job_id, _ in service.publisher.sent}
    upload = api.get(made["links"]["upload"]).json()
    assert (upload["state"], upload["num_parts"], upload["checkpoint_id"]) == ("completed", 0, made["id"])
    for step in ("complete", "cancel"):
        again = api.post(f"/v1/uploads/{upload['id']}/{step}", json={} if step == "complete" else None)
        assert again.status_code in {200, 409}
    assert api.get("/v1/checkpoints").json()["data"][0]["id"] == made["id"]
    assert api.delete(f"/v1/checkpoints/{made['id']}").status_code == 202


def test_an_order_repeated_with_its_key_is_one_order(api: httpx.Client, service: Service) -> None:
    headers = {"Idempotency-Key": "fetch-once"}
    answers = [
        api.post("/v1/checkpoints", json={"source": HUB, "max_size_bytes": 5}, headers=headers)
        for _ in range(2)
    ]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json()["id"] == answers[1].json()["id"]


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("openai/clip", "source_invalid"),
        ("hf://openai/clip/../x", "source_invalid"),
        ("http://huggingface.co/x", "source_invalid"),
        ("https://169.254.169.254/x", "source_invalid"),
        ("https://example.org/x", "source_not_allowed"),
        ("s3://elsewhere/x", "source_not_allowed"),
        ("s3://{bucket}/uploads/{theirs}/x", "source_not_allowed"),
        ("s3://{bucket}/of/{theirs}/x.pt", "source_not_allowed"),
    ],
)
def test_what_is_refused_leaves_nothing_behind(
    service: Service, api: httpx.Client, source: str, code: str
) -> None:
    text = source.format(bucket=service.store.bucket, theirs=service.theirs.project_id)
    with service.nothing_left_behind():
        problem = refused(order(api, text), 422, code, "/source")
    assert problem["remedy"]


def test_an_object_of_the_projects_own_prefix_can_be_ordered(service: Service, api: httpx.Client) -> None:
    answer = order(api, f"s3://{service.store.bucket}/of/{service.ours.project_id}/clip.pt", max_size_bytes=5)
    assert answer.status_code == 202, answer.text
    assert answer.json()["filename"] == "clip.pt"


def test_more_than_the_service_takes_is_refused_at_once(service: Service, api: httpx.Client) -> None:
    with service.nothing_left_behind():
        refused(order(api, HUB, max_size_bytes=2**50), 413, "upload_too_large")


def test_what_may_come_counts_in_the_quota_until_it_is_there(service: Service, api: httpx.Client) -> None:
    before = api.get("/v1/usage").json()["stored_bytes"]["current"]
    assert order(api, HUB, max_size_bytes=77 * MIB).status_code == 202
    assert api.get("/v1/usage").json()["stored_bytes"]["current"] == before + 77 * MIB
