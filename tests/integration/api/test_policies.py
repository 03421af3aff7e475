"""Policies over HTTP: kept by name, copied into jobs, refused where they contradict themselves or the job."""

from typing import Any

import httpx
import pytest

from app.domain.limits import MAX_POLICIES
from app.domain.states import DatasetKind
from cleanclip.vocabulary.policy import Policy, policy_sha256
from tests.integration.api.service import Service, refused

LIMITS = {
    "asr_at_most": 0.1,
    "asr_at_most_for": {"paper": 0.08, "sig": 0.3},
    "ca_lost_at_most": 0.01,
    "rebound_asr_at_most": None,
    "controlled_at_most": 0.8,
}


def test_a_policy_is_kept_replaced_listed_and_deleted(service: Service, api: httpx.Client) -> None:
    made = api.put("/v1/policies/release", json=LIMITS)
    assert (made.status_code, made.headers["location"]) == (201, "/v1/policies/release")
    assert made.json()["policy"] == LIMITS
    assert made.json()["sha256"] == policy_sha256(Policy(**LIMITS))  # type: ignore[arg-type]
    read = api.get("/v1/policies/release")
    assert read.json() == made.json()
    known = {"If-None-Match": read.headers["etag"]}
    assert api.get("/v1/policies/release", headers=known).status_code == 304
    changed = api.put("/v1/policies/release", json={"asr_at_most": 0.2})
    assert changed.status_code == 200
    assert changed.json()["policy"] == {
        "asr_at_most": 0.2,
        "asr_at_most_for": {},
        "ca_lost_at_most": 0.03,
        "rebound_asr_at_most": None,
        "controlled_at_most": 0.8,
    }
    assert changed.json()["id"] == made.json()["id"]
    assert api.get("/v1/policies/release", headers=known).status_code == 200
    api.put("/v1/policies/nightly", json={})
    names = [one["name"] for one in api.get("/v1/policies").json()["data"]]
    assert names[:2] == ["nightly", "release"]
    first = api.get("/v1/policies", params={"limit": 1}).json()
    rest = api.get("/v1/policies", params={"limit": 1, "after": first["last_id"]}).json()
    assert (first["has_more"], rest["data"][0]["name"]) == (True, "release")
    for name in ("release", "nightly"):
        assert api.delete(f"/v1/policies/{name}").status_code == 204
        refused(api.get(f"/v1/policies/{name}"), 404, "policy_not_found")
        refused(api.delete(f"/v1/policies/{name}"), 404, "policy_not_found")


def test_every_change_of_a_policy_stands_in_the_trail(service: Service, api: httpx.Client) -> None:
    made = api.put("/v1/policies/traced", json={}).json()
    api.put("/v1/policies/traced", json={"asr_at_most": 0.3})
    api.delete("/v1/policies/traced")
    found = api.get("/v1/trail", params={"target_id": made["id"]}).json()["data"]
    assert [entry["action"] for entry in found] == ["policy.delete", "policy.put", "policy.put"]


@pytest.mark.parametrize("name", ["x", "Release", "1st", "re.lease", "a_b", "a" * 64, "ready%2F", "%C3%A4b"])
def test_what_is_no_name_is_not_found_and_makes_nothing(
    service: Service, api: httpx.Client, name: str
) -> None:
    with service.nothing_left_behind():
        code = "route_not_found" if "%2F" in name else "policy_not_found"
        refused(api.put(f"/v1/policies/{name}", json={}), 404, code)
        refused(api.get(f"/v1/policies/{name}"), 404, code)


@pytest.mark.parametrize(
    ("body", "code", "pointer"),
    [
        ({"asr_at_most": 0}, "policy_cannot_pass", "/asr_at_most"),
        ({"asr_at_most_for": {"custom": 1e-9}}, "policy_cannot_pass", "/asr_at_most_for/custom"),
        ({"asr_at_most": 1.5}, "invalid_request", "/asr_at_most"),
        ({"ca_lost_at_most": -0.01}, "invalid_request", "/ca_lost_at_most"),
        ({"asr_at_most_for": {"badnet-2": 0.1}}, "invalid_request", "/asr_at_most_for/badnet-2"),
        ({"asr_at_most_for": {"badnet": "0.1"}}, "invalid_request", "/asr_at_most_for/badnet"),
        ({"mercy": True}, "invalid_request", "/mercy"),
    ],
)
def test_limits_that_cannot_be_meant_are_refused_with_their_place(
    service: Service, api: httpx.Client, body: dict[str, Any], code: str, pointer: str
) -> None:
    order = service.sanitize_order(policy=body)
    with service.nothing_left_behind():
        refused(api.put("/v1/policies/broken", json=body), 422, code, pointer)
        refused(api.post("/v1/jobs", json=order), 422, code, f"/policy{pointer}")


def test_a_project_keeps_so_many_policies_and_no_more(service: Service, api: httpx.Client) -> None:
    service.execute(
        "INSERT INTO policies (id, project_id, name, content)"
        " SELECT 'pol_' || n, :project, 'many-' || n, '{}' FROM generate_series(1, :n) n",
        project=service.ours.project_id,
        n=MAX_POLICIES,
    )
    refused(api.put("/v1/policies/one-more", json={}), 409, "too_many_policies")
    assert api.put("/v1/policies/many-1", json={"asr_at_most": 0.5}).status_code == 200
    service.execute("DELETE FROM policies WHERE name LIKE 'many-%'")


def test_only_an_administrators_key_says_what_a_name_stands_for(service: Service, api: httpx.Client) -> None:
    key = api.post("/v1/keys", json={"name": "ci", "scopes": ["read", "run"]}).json()["key"]
    api.put("/v1/policies/guarded", json={"asr_at_most": 0.2})
    with httpx.Client(base_url=service.url, headers={"Authorization": f"Bearer {key}"}) as other:
        refused(other.put("/v1/policies/guarded", json={"asr_at_most": 1}), 403, "scope_missing")
        refused(other.delete("/v1/policies/guarded"), 403, "scope_missing")
        order = service.sanitize_order(policy_name="guarded")
        assert other.post("/v1/jobs", json=order).json()["policy"]["asr_at_most"] == 0.2
    api.delete("/v1/policies/guarded")


def test_a_job_copies_the_policy_and_keeps_it_whatever_becomes_of_the_name(
    service: Service, api: httpx.Client
) -> None:
    kept = api.put("/v1/policies/release", json=LIMITS).json()
    job = api.post("/v1/jobs", json=service.sanitize_order(policy_name="release")).json()
    assert job["policy"] == LIMITS
    assert job["policy_source"] == {"given": "kept", "name": "release", "sha256": kept["sha256"]}
    api.put("/v1/policies/release", json={"asr_at_most": 1})
    api.delete("/v1/policies/release")
    assert api.get(f"/v1/jobs/{job['id']}").json()["policy"] == LIMITS
    given = api.post("/v1/jobs", json=service.sanitize_order(policy=LIMITS)).json()
    assert given["policy_source"] == {"given": "order", "name": None, "sha256": kept["sha256"]}


def test_another_projects_policy_is_not_found_by_its_name(service: Service, api: httpx.Client) -> None:
    theirs = service.theirs.http.put("/v1/policies/theirs", json={"asr_at_most": 0.5})
    assert theirs.status_code == 201
    refused(api.get("/v1/policies/theirs"), 404, "policy_not_found")
    order = service.sanitize_order(policy_name="theirs")
    with service.nothing_left_behind():
        refused(api.post("/v1/jobs", json=order), 404, "policy_not_found", "/policy_name")
    assert api.put("/v1/policies/theirs", json={"asr_at_most": 0.1}).status_code == 201
    assert service.theirs.http.get("/v1/policies/theirs").json() == theirs.json()
    api.delete("/v1/policies/theirs")


def test_a_job_has_one_policy(service: Service, api: httpx.Client) -> None:
    api.put("/v1/policies/release", json=LIMITS)
    order = service.sanitize_order(policy_name="release", policy={})
    with service.nothing_left_behind():
        refused(api.post("/v1/jobs", json=order), 422, "invalid_request", "/policy_name")
        malformed = order | {"policy_name": "no name"}
        refused(api.post("/v1/jobs", json=malformed), 422, "invalid_request", "/policy_name")


def test_a_policy_that_limits_what_the_job_does_not_try_is_refused(
    service: Service, api: httpx.Client
) -> None:
    limits = {"asr_at_most_for": {"structured": 0.2}}
    order = service.sanitize_order(policy=limits)
    answer = api.post("/v1/jobs", json=order)
    refused(answer, 422, "policy_limits_untried", "/policy/asr_at_most_for/structured")
    assert "it tests badnet, blended, wanet, sig" in answer.json()["detail"]
    api.put("/v1/policies/structures", json=limits)
    named = service.sanitize_order(policy_name="structures")
    refused(api.post("/v1/jobs", json=named), 422, "policy_limits_untried", "/policy_name")
    named["audit"]["suite"] = "structured"
    assert api.post("/v1/jobs", json=named).status_code == 202


@pytest.mark.parametrize(
    ("trained_on", "kind"),
    [("images_of_pairs", DatasetKind.PAIRS), ("labelled_images", DatasetKind.LABELLED)],
)
def test_a_rebound_needs_captions_or_labels_that_are_right(
    service: Service, api: httpx.Client, trained_on: str, kind: DatasetKind
) -> None:
    order = service.sanitize_order(recipe={"method": "uar", "trained_on": trained_on})
    order["dataset_id"] = service.dataset(kind)
    order["audit"]["rebound"] = {}
    refused(api.post("/v1/jobs", json=order), 422, "rebound_without_clean_data", "/audit/rebound")
    obstacles = api.post("/v1/jobs/dry-run", json=order).json()["obstacles"]
    assert ("rebound_without_clean_data", "/audit/rebound") in [
        (one["code"], one["pointer"]) for one in obstacles
    ]


def test_images_that_could_show_no_limit_to_be_kept_are_refused_if_the_limit_was_given(
    service: Service, api: httpx.Client
) -> None:
    labelled = service.dataset(DatasetKind.LABELLED, class_names=("zero", "banana"))
    service.execute(
        "UPDATE datasets SET summary = jsonb_set(summary, '{images_per_class}', '[72, 500]') WHERE id = :id",
        id=labelled,
    )
    order = service.sanitize_order(policy={"ca_lost_at_most": 0.1})
    order["audit"]["dataset_id"] = labelled
    answer = api.post("/v1/jobs", json=order)
    refused(answer, 422, "policy_cannot_pass", "/policy/asr_at_most")
    assert "At least 73 images" in answer.json()["detail"]
    order["audit"]["attacks"] = [{"attack": "badnet", "target": "zero"}]
    assert api.post("/v1/jobs", json=order).status_code == 202, "500 images are of another class"
    del order["policy"], order["audit"]["attacks"]
    assert api.post("/v1/jobs", json=order).status_code == 202, "the default's limits: the job warns"
    order["policy"] = {"asr_at_most": 0.06}
    assert api.post("/v1/jobs", json=order).status_code == 202


def test_a_limit_on_control_that_too_few_images_can_show_is_refused_in_the_order_and_its_dry_run(
    service: Service, api: httpx.Client
) -> None:
    labelled = service.dataset(DatasetKind.LABELLED)
    service.execute(
        "UPDATE datasets SET summary = jsonb_set(summary, '{num_samples}', '127') WHERE id = :id", id=labelled
    )
    order = service.sanitize_order(policy={"controlled_at_most": 0.5})
    order["audit"]["dataset_id"] = labelled
    answer = api.post("/v1/jobs", json=order)
    refused(answer, 422, "policy_limits_unsearched", "/policy/controlled_at_most")
    assert "127 labelled images of 3 classes are too few to search" in answer.json()["detail"]
    planned = api.post("/v1/jobs/dry-run", json=order).json()
    assert ("policy_limits_unsearched", "/policy/controlled_at_most") in [
        (one["code"], one["pointer"]) for one in planned["obstacles"]
    ]
    order["policy"] = {"asr_at_most": 0.5}
    assert api.post("/v1/jobs", json=order).status_code == 202, "its own limit is the default"
