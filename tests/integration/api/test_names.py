"""Names for people: of datasets, jobs and keys; given, changed, taken away, shown where things are listed."""

import httpx
import pytest

from app.domain.states import DatasetKind, JobState
from app.services.api_keys import read_key
from tests.integration.api.service import Service, refused

UNFIT = ["", "x" * 101, "two\nlines", "\u202egnp.exe", "..", None, 3]


def made(service: Service, noun: str) -> str:
    """The path of something new that has no name, or of a key."""
    if noun == "datasets":
        return f"/v1/datasets/{service.dataset(DatasetKind.PAIRS)}"
    order = service.sanitize_order() if noun == "jobs" else {"name": "first", "scopes": ["read"]}
    answer = service.ours.http.post(f"/v1/{noun}", json=order)
    assert answer.is_success, answer.text
    return f"/v1/{noun}/{answer.json()['id']}"


@pytest.mark.parametrize("noun", ["datasets", "jobs", "keys"])
def test_a_name_is_changed_and_shown_by_itself_and_in_the_list(
    service: Service, api: httpx.Client, noun: str
) -> None:
    path = made(service, noun)
    answer = api.patch(path, json={"name": "Clean pairs, 2026-11 ✓"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["name"] == api.get(path).json()["name"] == "Clean pairs, 2026-11 ✓"
    assert api.get(f"/v1/{noun}?limit=1").json()["data"][0]["name"] == "Clean pairs, 2026-11 ✓"


@pytest.mark.parametrize("noun", ["datasets", "jobs"])
def test_a_name_is_taken_away_by_null_and_the_etag_changes(
    service: Service, api: httpx.Client, noun: str
) -> None:
    path = made(service, noun)
    assert api.get(path).json()["name"] is None
    api.patch(path, json={"name": "one"})
    named = api.get(path).headers["etag"]
    assert api.patch(path, json={"name": None}).json()["name"] is None
    again = api.get(path, headers={"If-None-Match": named})
    assert (again.status_code, again.json()["name"]) == (200, None)


def test_names_are_given_with_an_order_and_with_a_registration(service: Service, api: httpx.Client) -> None:
    job = api.post("/v1/jobs", json=service.sanitize_order(name="Release 7")).json()
    assert job["name"] == "Release 7"
    service.store.put_bytes("allowed/named/a.tar", b"x")
    body = {"kind": "pairs", "uri": f"s3://{service.store.bucket}/allowed/named/", "name": "Named"}
    assert api.post("/v1/datasets", json=body).json()["name"] == "Named"


@pytest.mark.parametrize("noun", ["datasets", "jobs", "keys"])
def test_names_that_are_unfit_to_show_are_refused(service: Service, api: httpx.Client, noun: str) -> None:
    path = made(service, noun)
    with service.nothing_left_behind():
        for name in UNFIT:
            if name is None and noun != "keys":
                continue
            answer = api.patch(path, json={"name": name})
            refused(answer, 422, "invalid_request")
            assert answer.json()["errors"][0]["pointer"] == "/name"
        refused(api.patch(path, json={}), 422, "invalid_request")


def test_another_projects_things_are_not_renamed(
    service: Service, api: httpx.Client, others: httpx.Client
) -> None:
    for noun in ("datasets", "jobs", "keys"):
        path = made(service, noun)
        assert others.patch(path, json={"name": "theirs"}).status_code == 404
        assert api.get(path).json()["name"] in (None, "first")


def test_a_job_is_renamed_in_any_state_and_says_so_among_its_events(
    service: Service, api: httpx.Client
) -> None:
    path = made(service, "jobs")
    service.set_job(path.rpartition("/")[2], JobState.FAILED)
    assert api.patch(path, json={"name": "kept for the record"}).json()["state"] == "failed"
    event = api.get(f"{path}/events").json()["data"][-1]
    assert (event["type"], event["data"]) == ("renamed", {"name": "kept for the record"})
    version = api.get(path).json()["etag"]
    assert api.patch(path, json={"name": "kept for the record"}).json()["etag"] == version, "nothing changed"


def test_the_trail_shows_the_name_that_a_key_has_now(service: Service, api: httpx.Client) -> None:
    key = made(service, "keys")
    key_id = read_key(service.ours.key).key_id
    before = api.get(f"/v1/keys/{key_id}").json()["name"]
    [row] = api.get(f"/v1/trail?target_id={key.rpartition('/')[2]}").json()["data"]
    assert (row["key_id"], row["key_name"]) == (key_id, before)
    api.patch(f"/v1/keys/{key_id}", json={"name": "Ada's laptop"})
    [row] = api.get(f"/v1/trail?target_id={key.rpartition('/')[2]}").json()["data"]
    assert row["key_name"] == "Ada's laptop"
    api.patch(f"/v1/keys/{key_id}", json={"name": before})


def test_an_order_keeps_who_asked_in_the_names_of_that_moment(service: Service) -> None:
    job_id = made(service, "jobs").rpartition("/")[2]
    with service.database.unit_of_work(service.ours.project_id) as unit:
        spec = unit.jobs.get(service.ours.project_id, job_id).spec
        project = unit.projects.get(service.ours.project_id).name
    key_id = read_key(service.ours.key).key_id
    assert spec["requested_by"]["project"] == project
    assert spec["requested_by"]["key_id"] == key_id
    assert spec["requested_by"]["key_name"]
