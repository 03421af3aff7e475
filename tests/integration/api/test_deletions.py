"""Deletion as requests see it: gone at once, with a receipt to come; what cannot go yet is refused."""

from typing import Any

import httpx
import pytest
from sqlalchemy import text

from app.db.models.job import Artifact
from app.domain.ids import new_id
from app.domain.states import JobState
from tests.integration.api.service import Service, refused

TAR = {"filename": "x.tar", "size_bytes": 3, "purpose": "dataset"}


def finished_job(service: Service) -> dict[str, Any]:
    job: dict[str, Any] = service.ours.http.post("/v1/jobs", json=service.sanitize_order()).json()
    service.set_job(job["id"], JobState.SUCCEEDED)
    return job


def accepted(answer: httpx.Response, subject: str, subject_id: str) -> dict[str, Any]:
    assert answer.status_code == 202, answer.text
    body: dict[str, Any] = answer.json()
    assert answer.headers["Location"] == f"/v1/deletions/{body['id']}"
    assert int(answer.headers["Retry-After"]) >= 1
    assert (body["subject"], body["subject_id"], body["state"]) == (subject, subject_id, "pending")
    return body


def test_a_deleted_job_is_not_found_at_once_nor_is_anything_of_it(
    service: Service, api: httpx.Client
) -> None:
    job = finished_job(service)
    with service.engine.begin() as connection:
        values = {
            "id": new_id("art"),
            "project_id": service.ours.project_id,
            "job_id": job["id"],
            "attempt": 1,
            "name": "report.json",
            "object_key": f"outputs/{service.ours.project_id}/{job['id']}/attempt-1/report.json",
            "size_bytes": 1,
            "sha256": "0" * 64,
            "media_type": "application/json",
        }
        connection.execute(Artifact.__table__.insert(), values)  # type: ignore[attr-defined]
    [artifact] = api.get(f"/v1/jobs/{job['id']}/artifacts").json()["data"]
    deletion = accepted(api.delete(f"/v1/jobs/{job['id']}"), "job", job["id"])
    assert deletion["reason"] == "requested"
    assert deletion["requested_by"].startswith("key_")
    for path in ("", "/events", "/artifacts", "/report"):
        refused(api.get(f"/v1/jobs/{job['id']}{path}"), 404, "job_not_found")
    etag = f'"{job["id"]}-1"'
    refused(api.get(f"/v1/jobs/{job['id']}", headers={"If-None-Match": etag}), 404, "job_not_found")
    for path in ("", "/content"):
        refused(api.get(f"/v1/artifacts/{artifact['id']}{path}"), 404, "artifact_not_found")
    assert job["id"] not in {row["id"] for row in api.get("/v1/jobs").json()["data"]}
    for again in (api.delete(f"/v1/jobs/{job['id']}"), api.post(f"/v1/jobs/{job['id']}/retry")):
        refused(again, 404, "job_not_found")


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.RUNNING, JobState.PAUSED, JobState.CANCELLING])
def test_only_a_finished_job_can_be_deleted(service: Service, api: httpx.Client, state: JobState) -> None:
    job = api.post("/v1/jobs", json=service.sanitize_order()).json()
    service.set_job(job["id"], state)
    with service.nothing_left_behind():
        refused(api.delete(f"/v1/jobs/{job['id']}"), 409, "job_not_finished")


def test_the_receipt_is_read_by_its_project_alone_and_listed(
    service: Service, api: httpx.Client, others: httpx.Client
) -> None:
    checkpoint = service.checkpoint()
    deletion = accepted(api.delete(f"/v1/checkpoints/{checkpoint}"), "checkpoint", checkpoint)
    assert api.get(f"/v1/deletions/{deletion['id']}").json() == deletion
    refused(others.get(f"/v1/deletions/{deletion['id']}"), 404, "deletion_not_found")
    assert deletion["id"] in {row["id"] for row in api.get("/v1/deletions").json()["data"]}
    assert others.get("/v1/deletions").json()["data"] == []
    digest = {"name": "clip.pt", "sha256": "0" * 64, "size_bytes": 3}
    service.execute(
        "UPDATE deletions SET counted_at = now(), finished_at = now(), num_objects = 2, num_bytes = 5,"
        " digests = jsonb_build_array(jsonb_build_object('name', 'clip.pt', 'sha256', repeat('0', 64),"
        " 'size_bytes', 3)) WHERE id = :id",
        id=deletion["id"],
    )
    receipt = api.get(f"/v1/deletions/{deletion['id']}").json()
    assert (receipt["state"], receipt["num_objects"], receipt["num_bytes"]) == ("finished", 2, 5)
    assert receipt["digests"] == [digest]


def test_an_open_upload_is_cancelled_by_its_deletion(service: Service, api: httpx.Client) -> None:
    upload = api.post("/v1/uploads", json=TAR).json()
    accepted(api.delete(f"/v1/uploads/{upload['id']}"), "upload", upload["id"])
    refused(api.get(f"/v1/uploads/{upload['id']}"), 404, "upload_not_found")
    refused(api.post(f"/v1/uploads/{upload['id']}/complete"), 404, "upload_not_found")
    with service.engine.connect() as connection:
        query = text("SELECT state FROM uploads WHERE id = :id")
        assert connection.scalar(query, {"id": upload["id"]}) == "cancelled"


def test_what_became_a_checkpoint_or_a_data_set_is_deleted_as_that(
    service: Service, api: httpx.Client
) -> None:
    checkpoint = service.checkpoint()
    with service.engine.connect() as connection:
        query = text("SELECT upload_id FROM checkpoints WHERE id = :id")
        upload_id = connection.scalar(query, {"id": checkpoint})
    with service.nothing_left_behind():
        refused(api.delete(f"/v1/uploads/{upload_id}"), 409, "upload_in_use")
