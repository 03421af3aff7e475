"""Vettings are ordered like other jobs; later orders leave out what one set aside."""

import json
from typing import Any

import httpx

from app.db.models.job import Artifact
from app.domain.ids import new_id
from app.domain.states import DatasetKind, JobState
from app.schemas.jobs import JobOut
from tests.integration.api.service import Service, refused

REASON = "vet set aside the worst 5 % by ranks of local_density, mismatch"
FOUND = {
    "set_aside": {"num": 5, "of": 100},
    "basis": "ranks",
    "reason": REASON,
    "scores": [{"name": "mismatch", "num_decisive": 5, "median": 0.1, "q99": 0.2, "high": 0.3}],
    "decided_by": {"mismatch": "suspect"},
    "not_computed": [],
    "levels": [],
    "measured": [],
    "num_calibration": 0,
    "what_it_says": "A sample that was set aside need not be poisoned.",
}


def with_digest(service: Service, dataset_id: str, digest: str, num_samples: int = 100) -> str:
    """Another dataset than all that tests register."""
    service.execute(
        "UPDATE datasets SET summary = summary || cast(:reported AS jsonb) WHERE id = :id",
        reported=json.dumps({"sha256": digest * 64, "num_samples": num_samples}),
        id=dataset_id,
    )
    return dataset_id


def anchor(service: Service, weights: str = "5", **changes: Any) -> str:
    found = service.checkpoint()
    service.execute(
        "UPDATE checkpoints SET weights_sha256 = :sha256 WHERE id = :id", sha256=weights * 64, id=found
    )
    if changes:
        service.execute(
            "UPDATE checkpoints SET inspection = inspection || cast(:reported AS jsonb) WHERE id = :id",
            reported=json.dumps(changes),
            id=found,
        )
    return found


def vet_order(service: Service, kind: DatasetKind = DatasetKind.PAIRS, **vet: Any) -> dict[str, Any]:
    dataset = vet.pop("dataset_id", None) or service.dataset(kind)
    return {"kind": "vet", "checkpoint_id": service.checkpoint(), "vet": {"dataset_id": dataset} | vet}


def ordered(api: httpx.Client, order: dict[str, Any]) -> dict[str, Any]:
    answer = api.post("/v1/jobs", json=order)
    assert answer.status_code == 202, answer.text
    JobOut.model_validate_json(answer.content)
    job: dict[str, Any] = answer.json()
    return job


def vetted(service: Service, api: httpx.Client, dataset_id: str) -> str:
    """A vetting as a worker would leave it."""
    job_id: str = ordered(api, vet_order(service, dataset_id=dataset_id))["id"]
    service.set_job(job_id, JobState.SUCCEEDED, result=json.dumps({"vet": FOUND}))
    artifact = Artifact(
        id=new_id("art"),
        project_id=service.ours.project_id,
        job_id=job_id,
        attempt=1,
        name="excluded.json",
        object_key=f"outputs/{service.ours.project_id}/{job_id}/attempt-1/excluded.json",
        size_bytes=7,
        sha256="e" * 64,
        media_type="application/json",
    )
    with service.database.unit_of_work() as unit:
        unit.artifacts.add(artifact)
    return job_id


def test_a_vetting_is_a_job_with_its_dataset_and_what_it_compares_with(
    service: Service, api: httpx.Client
) -> None:
    trusted = with_digest(service, service.dataset(DatasetKind.PAIRS), "2")
    model = anchor(service)
    order = vet_order(
        service, trusted_dataset_id=trusted, anchor_checkpoint_id=model, share=0.1, scores=["disagreement"]
    )
    headers = {"Idempotency-Key": "vet-once"}
    job = api.post("/v1/jobs", json=order, headers=headers).json()
    assert api.post("/v1/jobs", json=order, headers=headers).json()["id"] == job["id"]
    assert [phase["name"] for phase in job["phases"]] == ["stage", "vet", "publish"]
    assert job["vet"] == api.get("/v1/methods").json()["vet"]["defaults"] | order["vet"]
    assert (job["audit"], job["policy"], job["recipe"], job["scan"]) == (None, None, None, None)
    listed = api.get("/v1/jobs", params={"kind": "vet", "limit": 1}).json()["data"]
    assert [one["id"] for one in listed] == [job["id"]]
    for path in (f"/v1/checkpoints/{model}", f"/v1/datasets/{trusted}"):
        assert api.delete(path).json()["code"].endswith("_in_use")
    assert api.post(f"/v1/jobs/{job['id']}/pause").json()["state"] == "paused"
    assert api.post(f"/v1/jobs/{job['id']}/resume").json()["state"] == "queued"
    assert api.post(f"/v1/jobs/{job['id']}/cancel").json()["state"] == "cancelled"


def test_labelled_images_are_vetted_too(service: Service, api: httpx.Client) -> None:
    assert ordered(api, vet_order(service, DatasetKind.LABELLED))["vet"]["trusted_dataset_id"] is None


def test_what_cannot_be_vetted_is_refused_before_anything_is_queued(
    service: Service, api: httpx.Client
) -> None:
    same = vet_order(service, anchor_checkpoint_id=service.checkpoint())
    model = {"embed_dim": 64, "text_cfg": {"vocab_size": 49408}}
    suspect = vet_order(service)
    service.execute(
        "UPDATE checkpoints SET inspection = inspection || cast(:reported AS jsonb) WHERE id = :id",
        reported=json.dumps({"architecture": {"model_cfg": model}}),
        id=suspect["checkpoint_id"],
    )
    other = {"architecture": {"model_cfg": {"text_cfg": {"vocab_size": 32000}}}}
    suspect["vet"]["anchor_checkpoint_id"] = anchor(service, **other)
    overlapping = vet_order(service, trusted_dataset_id=service.dataset(DatasetKind.PAIRS))
    images = service.dataset(DatasetKind.LABELLED)
    mixed = vet_order(service, trusted_dataset_id=with_digest(service, images, "3"))
    few = vet_order(service, dataset_id=with_digest(service, service.dataset(DatasetKind.PAIRS), "4", 17))
    thirty = with_digest(service, service.dataset(DatasetKind.PAIRS), "4", 30)
    few_trusted = vet_order(service, trusted_dataset_id=thirty)
    by_name = vet_order(service, scores=["residual"])
    triggered = vet_order(service, triggers=[{"attack": "badnet"}])
    unknown = vet_order(service, anchor_checkpoint_id="ckpt_" + "0" * 26)
    bound = vet_order(service, share=0.6)
    with service.nothing_left_behind():
        for order, status, code, pointer in (
            (same, 422, "anchor_is_the_suspect", "/vet/anchor_checkpoint_id"),
            (suspect, 422, "anchor_tokenizer", "/vet/anchor_checkpoint_id"),
            (overlapping, 422, "trusted_overlaps", "/vet/trusted_dataset_id"),
            (mixed, 422, "trusted_wrong_kind", "/vet/trusted_dataset_id"),
            (few, 422, "too_few_to_vet", "/vet/dataset_id"),
            (few_trusted, 422, "too_few_trusted", "/vet/trusted_dataset_id"),
            (by_name, 422, "score_without_input", "/vet/scores"),
            (triggered, 422, "triggers_unused", "/vet/triggers"),
            (unknown, 404, "checkpoint_not_found", "/vet/anchor_checkpoint_id"),
            (bound, 422, "invalid_request", "/vet/share"),
        ):
            refused(api.post("/v1/jobs", json=order), status, code, pointer)
        reported = api.post(
            "/v1/jobs/dry-run", json=few_trusted | {"vet": same["vet"] | few_trusted["vet"]}
        ).json()
    assert [one["code"] for one in reported["obstacles"]] == ["anchor_is_the_suspect", "too_few_trusted"]


def test_a_dry_run_counts_images_and_says_what_is_not_known(service: Service, api: httpx.Client) -> None:
    order = vet_order(service, anchor_checkpoint_id=anchor(service))
    with service.nothing_left_behind():
        found = api.post("/v1/jobs/dry-run", json=order).json()
        assert api.post("/v1/jobs/dry-run", json={"kind": "vet", "vet": {}}).status_code == 200
    phases = {one["name"]: one for one in found["phases"]}
    assert (phases["vet"]["unit"], phases["vet"]["amount"]) == ("images", 202)
    assert phases["vet"]["does"].startswith("Embeds 101 samples by the model and the anchor")
    assert found["obstacles"] == []
    assert [one for one in found["warnings"] if "No trusted samples" in one]


def test_an_order_leaves_out_what_a_vetting_set_aside(service: Service, api: httpx.Client) -> None:
    order = service.sanitize_order()
    with_digest(service, order["dataset_id"], "6")
    with_digest(service, order["audit"]["dataset_id"], "7")
    pairs = vetted(service, api, order["dataset_id"])
    images = vetted(service, api, order["audit"]["dataset_id"])
    with service.nothing_left_behind():
        ahead = api.post("/v1/jobs/dry-run", json=order | {"exclude": [pairs]}).json()
        assert "96 pairs" in {one["name"]: one["does"] for one in ahead["phases"]}["finetune"]
    job = ordered(api, order | {"exclude": [pairs, images]})
    assert job["exclude"] == [pairs, images]
    with service.database.unit_of_work() as unit:
        kept = unit.jobs.get(service.ours.project_id, job["id"]).spec["exclude"]
    assert kept["pairs"] == {"job_id": pairs, "list_sha256": "e" * 64, "num": 5, "reason": REASON}
    assert kept["labelled"]["job_id"] == images
    audit = {name: order[name] for name in ("checkpoint_id", "audit")} | {"kind": "audit"}
    assert ordered(api, audit | {"exclude": [images]})["exclude"] == [images]
    reported = api.get(f"/v1/jobs/{images}").json()["result"]["vet"]
    assert reported == FOUND


def test_a_list_that_does_not_belong_to_the_order_is_refused(service: Service, api: httpx.Client) -> None:
    order = service.sanitize_order()
    with_digest(service, order["dataset_id"], "8")
    with_digest(service, order["audit"]["dataset_id"], "9")
    of_pairs = vetted(service, api, order["dataset_id"])
    again = vetted(service, api, order["dataset_id"])
    elsewhere = with_digest(service, service.dataset(DatasetKind.PAIRS), "a")
    of_others = vetted(service, api, elsewhere)
    waiting = ordered(api, vet_order(service, dataset_id=order["dataset_id"]))["id"]
    failed = ordered(api, vet_order(service, dataset_id=order["dataset_id"]))["id"]
    error = {"code": "x", "message": "m.", "remedy": "r.", "where": None, "phase": None, "retryable": False}
    service.set_job(failed, JobState.FAILED, error=json.dumps(error))
    audit_id = ordered(api, {"kind": "audit"} | {n: order[n] for n in ("checkpoint_id", "audit")})["id"]
    with service.nothing_left_behind():
        for vettings, status, code, place in (
            ([of_others], 422, "exclusions_of_another_dataset", 0),
            ([of_pairs, again], 422, "exclusions_given_twice", 1),
            ([waiting], 409, "job_not_finished", 0),
            ([failed], 404, "vetting_without_list", 0),
            ([audit_id], 422, "job_is_no_vetting", 0),
            (["job_" + "0" * 26], 404, "job_not_found", 0),
        ):
            answer = api.post("/v1/jobs", json=order | {"exclude": vettings})
            refused(answer, status, code, f"/exclude/{place}")


def test_another_projects_vetting_is_not_found(service: Service, api: httpx.Client) -> None:
    ours = vetted(service, api, with_digest(service, service.dataset(DatasetKind.PAIRS), "b"))
    project_id = service.theirs.project_id
    labelled = service.dataset(DatasetKind.LABELLED, project_id=project_id)
    order = {
        "kind": "audit",
        "checkpoint_id": service.checkpoint(project_id=project_id),
        "audit": {"dataset_id": labelled, "target": "banana"},
    }
    with service.nothing_left_behind():
        answer = service.theirs.http.post("/v1/jobs", json=order | {"exclude": [ours]})
        refused(answer, 404, "job_not_found", "/exclude/0")
