"""Reading: pages, ETags and 304, checkpoints, artifacts, the report, methods, health and metrics."""

import hashlib
import json
from typing import Any

import httpx
import pytest

from app.db.models.job import Artifact
from app.domain.ids import new_id
from app.domain.states import DatasetKind, JobState
from app.storage.errors import StoreUnavailable
from app.storage.s3 import S3Store
from cleanclip.vocabulary import report as reports
from tests.fixtures.made_reports import attack_figures, audit_figures, report
from tests.integration.api.service import INSPECTION, Service, refused


def new_job(service: Service) -> str:
    return str(service.ours.http.post("/v1/jobs", json=service.sanitize_order()).json()["id"])


def test_an_unchanged_job_is_a_304_and_a_changed_one_is_not(service: Service, api: httpx.Client) -> None:
    job = new_job(service)
    first = api.get(f"/v1/jobs/{job}")
    etag = first.headers["etag"]
    assert etag == f'"{first.json()["etag"]}"'
    for held in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        again = api.get(f"/v1/jobs/{job}", headers={"If-None-Match": held})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == etag
    service.set_job(job, JobState.RUNNING)
    changed = api.get(f"/v1/jobs/{job}", headers={"If-None-Match": etag})
    assert (changed.status_code, changed.json()["state"]) == (200, "running")
    assert changed.headers["etag"] != etag


@pytest.mark.parametrize("path", ["jobs", "checkpoints", "datasets", "methods"])
def test_an_unchanged_list_is_a_304(service: Service, api: httpx.Client, path: str) -> None:
    first = api.get(f"/v1/{path}")
    again = api.get(f"/v1/{path}", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    new_job(service)  # with its checkpoint and datasets
    changed = api.get(f"/v1/{path}", headers={"If-None-Match": first.headers["etag"]})
    assert changed.status_code == (304 if path == "methods" else 200)


def test_an_etag_opens_nothing_to_another(service: Service, api: httpx.Client, others: httpx.Client) -> None:
    job = new_job(service)
    etag = api.get(f"/v1/jobs/{job}").headers["etag"]
    for held in (etag, "*"):
        refused(others.get(f"/v1/jobs/{job}", headers={"If-None-Match": held}), 404, "job_not_found")


def test_pages_are_newest_first_and_hold_everything_once(service: Service, api: httpx.Client) -> None:
    made = [new_job(service) for _ in range(5)]
    seen: list[str] = []
    after: dict[str, Any] = {}
    while True:
        page = api.get("/v1/jobs", params={"limit": 2, **after}).json()
        ids = [job["id"] for job in page["data"]]
        assert (page["object"], page["first_id"], page["last_id"]) == ("list", ids[0], ids[-1])
        seen += ids
        if not page["has_more"]:
            break
        assert len(ids) == 2
        after = {"after": page["last_id"]}
    assert seen == sorted(seen, reverse=True)
    assert len(seen) == len(set(seen))
    assert seen[:5] == made[::-1]


def test_an_empty_page_is_a_page(others: httpx.Client) -> None:
    page = others.get("/v1/jobs").json()
    assert page == {"object": "list", "data": [], "has_more": False, "first_id": None, "last_id": None}


def test_jobs_are_filtered_by_state_and_kind(service: Service, api: httpx.Client) -> None:
    job = new_job(service)
    api.post(f"/v1/jobs/{job}/cancel")
    found = api.get("/v1/jobs", params={"state": "cancelled", "kind": "sanitize"}).json()["data"]
    assert job in [row["id"] for row in found]
    assert {(row["state"], row["kind"]) for row in found} == {("cancelled", "sanitize")}
    assert api.get("/v1/jobs", params={"kind": "audit"}).json()["data"] == []


@pytest.mark.parametrize(
    ("name", "value"),
    [("limit", 0), ("limit", 101), ("limit", "ten"), ("after", "x"), ("state", "dead"), ("kind", "inspect")],
)
def test_a_wrong_parameter_is_refused_by_name(api: httpx.Client, name: str, value: Any) -> None:
    problem = refused(api.get("/v1/jobs", params={name: value}), 422, "invalid_request")
    assert [error["parameter"] for error in problem["errors"]] == [name]


def test_checkpoints_are_found_by_the_digest_of_their_uploaded_bytes(
    service: Service, api: httpx.Client, others: httpx.Client
) -> None:
    checkpoint = api.get(f"/v1/checkpoints/{service.checkpoint()}").json()
    digest = {"sha256": checkpoint["sha256"]}
    assert checkpoint["id"] in [row["id"] for row in api.get("/v1/checkpoints", params=digest).json()["data"]]
    assert api.get("/v1/checkpoints", params={"sha256": "f" * 64}).json()["data"] == []
    assert others.get("/v1/checkpoints", params=digest).json()["data"] == []
    refused(api.get("/v1/checkpoints", params={"sha256": "abc"}), 422, "invalid_request")


def test_an_accepted_checkpoint_shows_what_was_found(service: Service, api: httpx.Client) -> None:
    checkpoint = api.get(f"/v1/checkpoints/{service.checkpoint()}").json()
    for name in (
        "layout",
        "architecture",
        "architecture_name",
        "num_parameters",
        "dtype",
        "assumed",
        "findings",
    ):
        assert checkpoint[name] == INSPECTION[name]
    assert checkpoint["sha256"] == INSPECTION["upload_sha256"]
    assert checkpoint["error"] is None


def test_a_ready_data_set_shows_its_counts(service: Service, api: httpx.Client) -> None:
    dataset = api.get(f"/v1/datasets/{service.dataset(DatasetKind.LABELLED)}").json()
    assert dataset["state"] == "ready"
    assert dataset["class_names"] == ["zero", "one", "banana"]
    assert dataset["summary"]["num_samples"] == 100
    assert dataset["summary"]["num_skipped"] == 1
    assert dataset["summary"]["images_per_class"] == [34, 33, 33]


def finished_job(service: Service) -> tuple[str, bytes, Artifact]:
    """A job as its worker leaves it: a result on the row, an artifact, and its bytes in the store."""
    job = new_job(service)
    share = reports.Estimate(n=10, successes=9)
    figures = audit_figures(share, attack_figures(share))
    document = reports.dump_json(report(figures, target="banana"))
    artifact = Artifact(
        id=new_id("art"),
        project_id=service.ours.project_id,
        job_id=job,
        attempt=1,
        name="report.json",
        object_key=f"outputs/{service.ours.project_id}/{job}/attempt-1/report.json",
        size_bytes=len(document),
        sha256=hashlib.sha256(document).hexdigest(),
        media_type="application/json",
    )
    service.store.put_bytes(artifact.object_key, document)
    with service.database.unit_of_work() as unit:
        unit.artifacts.add(artifact)
    before = json.loads(document)["before"]
    result = {
        "verdict": json.loads(document)["verdict"],
        "before": before,
        "after": None,
        "artifact_ids": [artifact.id],
    }
    service.set_job(job, JobState.SUCCEEDED)
    set_result = "UPDATE jobs SET result = CAST(:result AS jsonb) WHERE id = :id"
    service.execute(set_result, id=job, result=json.dumps(result))
    return job, document, artifact


def test_a_finished_job_shows_its_figures_and_files(service: Service, api: httpx.Client) -> None:
    job, _, artifact = finished_job(service)
    shown = api.get(f"/v1/jobs/{job}").json()
    assert shown["result"]["verdict"]["outcome"] == "fail"
    assert shown["result"]["before"]["ca"]["n"] == 10
    assert shown["result"]["artifact_ids"] == [artifact.id]
    page = api.get(f"/v1/jobs/{job}/artifacts").json()
    assert page["signature"] == {"state": "unsigned", "key_sha256": None, "statement_sha256": None}
    (listed,) = page["data"]
    assert (listed["name"], listed["sha256"]) == ("report.json", artifact.sha256)
    assert api.get(f"/v1/artifacts/{artifact.id}").json() == listed
    assert artifact.object_key not in str(shown) + str(listed)


def test_the_bytes_of_a_file_come_by_redirect_with_ranges(service: Service, api: httpx.Client) -> None:
    _, document, artifact = finished_job(service)
    redirect = api.get(f"/v1/artifacts/{artifact.id}/content")
    assert redirect.status_code == 307
    url = redirect.headers["location"]
    whole = httpx.get(url)
    assert whole.content == document
    assert "attachment" in whole.headers["content-disposition"]
    part = httpx.get(url, headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, document[10:20])


def test_a_foreign_artifact_is_not_found(service: Service, others: httpx.Client) -> None:
    job, _, artifact = finished_job(service)
    refused(others.get(f"/v1/artifacts/{artifact.id}"), 404, "artifact_not_found")
    refused(others.get(f"/v1/artifacts/{artifact.id}/content"), 404, "artifact_not_found")
    refused(others.get(f"/v1/jobs/{job}/report"), 404, "job_not_found")


def test_the_report_is_served_as_it_was_written(service: Service, api: httpx.Client) -> None:
    job, document, _ = finished_job(service)
    answer = api.get(f"/v1/jobs/{job}/report")
    assert answer.content == document
    assert answer.headers["content-type"] == "application/json"
    reports.load_json(answer.content)
    again = api.get(f"/v1/jobs/{job}/report", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304


def test_who_signed_a_jobs_files_is_told_wherever_they_are_told_of(
    service: Service, api: httpx.Client
) -> None:
    job, _, _ = finished_job(service)
    assert api.get(f"/v1/jobs/{job}").json()["result"]["signature"]["state"] == "unsigned"
    assert api.get(f"/v1/jobs/{job}/report").headers["cleanclip-signature"] == "unsigned"
    signature = {"state": "signed", "key_sha256": "a" * 64, "statement_sha256": "b" * 64}
    add = "UPDATE jobs SET result = result || CAST(:more AS jsonb), version = version + 1 WHERE id = :id"
    service.execute(add, id=job, more=json.dumps({"signature": signature}))
    assert api.get(f"/v1/jobs/{job}").json()["result"]["signature"] == signature
    assert api.get(f"/v1/jobs/{job}/artifacts").json()["signature"] == signature
    assert api.get(f"/v1/jobs/{job}/report").headers["cleanclip-signature"] == "signed " + "a" * 64


def test_a_waiting_job_has_no_report_yet_and_a_failed_one_never(service: Service, api: httpx.Client) -> None:
    job = new_job(service)
    refused(api.get(f"/v1/jobs/{job}/report"), 409, "job_not_finished")
    service.set_job(job, JobState.FAILED)
    refused(api.get(f"/v1/jobs/{job}/report"), 404, "report_not_found")


def test_methods_list_every_option_with_bounds_and_defaults(api: httpx.Client) -> None:
    known = api.get("/v1/methods").json()
    method, *others = known["methods"]
    assert [one["name"] for one in (method, *others)] == ["cleanclip", "par", "supervised", "uar"]
    assert {"threshold", "noise_std"} <= set(others[0]["options"]["properties"])
    assert others[1]["defaults"]["warmup_steps"] == 500
    assert ["method" in one["options"].get("required", []) for one in (method, *others)] == [
        False,
        True,
        True,
        True,
    ]
    assert method["options"]["properties"]["epochs"]["maximum"] == 100
    assert method["defaults"]["learning_rate"] == 1e-5
    assert [attack["name"] for attack in known["attacks"]] == [
        "badnet",
        "blended",
        "wanet",
        "sig",
        "label_consistent",
        "text_trigger",
        "custom_patch",
        "custom_pattern",
    ]
    assert [(suite["name"], len(suite["attacks"])) for suite in known["suites"]] == [
        ("paper", 5),
        ("structured", 4),
    ]
    for one in known["recommended"]:
        assert one["source"]
        [described] = [method for method in known["methods"] if method["name"] == one["method"]]
        assert set(one["values"]) <= set(described["options"]["properties"])
    vit = [one for one in known["recommended"] if "VisionTransformer" in one["families"]]
    assert [(one["method"], one["size"], one["values"]["learning_rate"]) for one in vit] == [
        ("cleanclip", "full", 5e-6),
        ("par", "full", 3e-6),
        ("par", "small", 3e-4),
        ("uar", "small", 5e-4),
    ]
    assert known["policy"]["defaults"]["asr_at_most_for"] == {}
    assert "target" not in known["audit"]["defaults"]
    assert len(known["audit"]["defaults"]["attacks"]) == 4


def test_a_failing_store_makes_the_service_unready_and_a_failing_broker_does_not(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service.ports.readiness, "every_s", 0.0)
    assert httpx.get(f"{service.url}/readyz").json() == {
        "status": "ready",
        "database": "ok",
        "store": "ok",
        "broker": "ok",
    }
    service.publisher.is_down = True
    try:
        answer = httpx.get(f"{service.url}/readyz")
    finally:
        service.publisher.is_down = False
    assert (answer.status_code, answer.json()["broker"]) == (200, "failing")

    def broken(_store: S3Store) -> None:
        raise StoreUnavailable("gone")

    monkeypatch.setattr(S3Store, "check", broken)
    answer = httpx.get(f"{service.url}/readyz")
    assert (answer.status_code, answer.json()["store"]) == (503, "failing")
    assert httpx.get(f"{service.url}/healthz").status_code == 200


def test_metrics_count_requests_by_template_and_jobs_by_state(service: Service, api: httpx.Client) -> None:
    job = new_job(service)
    api.get(f"/v1/jobs/{job}")
    api.get("/made/up/path")
    text = httpx.get(f"{service.url}/metrics").text
    assert 'cleanclip_http_requests_total{method="GET",route="/v1/jobs/{job_id}",status="200"}' in text
    assert 'route="unmatched",status="404"' in text
    assert 'cleanclip_jobs{kind="sanitize",state="queued"}' in text
    assert "cleanclip_hints_refused_total 0.0" in text
    for secret in (job, service.ours.project_id, "/made/up/path"):
        assert secret not in text
