"""No list is larger than it says, whatever its rows hold; and what it leaves out is not read for it."""

import contextlib
import json
from collections.abc import Iterator
from itertools import product
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, event

from app.domain.ids import new_id
from app.domain.states import DatasetKind
from app.live.written_jobs import MOST_BYTES
from app.schemas.jobs import JobPage
from tests.integration.api.service import MIB, Service, Tenant, tenant

MOST = MIB + MIB // 4
"""Of an answer: a MiB of texts and JSON, and what stands around them."""


@pytest.fixture
def fresh(service: Service) -> Tenant:
    """A project of its own."""
    return tenant(service.database, service.url, new_id("prj"))


@pytest.fixture
def order(service: Service, fresh: Tenant) -> dict[str, Any]:
    """Of an audit in that project."""
    dataset_id = service.dataset(DatasetKind.LABELLED, project_id=fresh.project_id)
    return {
        "kind": "audit",
        "checkpoint_id": service.checkpoint(project_id=fresh.project_id),
        "audit": {"dataset_id": dataset_id, "target": "banana"},
    }


def pages(of: Tenant, path: str, cursor: str = "last_id") -> Iterator[dict[str, Any]]:
    """Every page of a hundred, each held to its size and its ETag."""
    query: dict[str, Any] = {"limit": 100}
    while True:
        answer = of.http.get(path, params=query)
        assert answer.status_code == 200, answer.text[:500]
        assert len(answer.content) <= MOST
        if (etag := answer.headers.get("ETag")) is not None:
            assert of.http.get(path, params=query, headers={"If-None-Match": etag}).status_code == 304
        body: dict[str, Any] = answer.json()
        yield body
        if not body["has_more"]:
            return
        query["after"] = body[cursor]


def test_a_page_of_datasets_has_the_number_of_classes_and_reads_no_names(
    service: Service, fresh: Tenant
) -> None:
    ids = [service.dataset(DatasetKind.LABELLED, project_id=fresh.project_id) for _ in range(30)]
    names = [f"class {number:05d} with a name as long as names are" for number in range(14_000)]
    files = [{"bucket": "b", "key": str(number), "size_bytes": 3} for number in range(1_000)]
    service.execute(
        "UPDATE datasets SET class_names = :names, files = :files, summary = summary || jsonb_build_object("
        "'class_names', CAST(:names AS jsonb)) WHERE project_id = :project",
        names=json.dumps(names),
        files=json.dumps(files),
        project=fresh.project_id,
    )
    with num_bytes_read(service) as read:
        [page] = pages(fresh, "/v1/datasets")
    assert 0 < sum(read) < MIB, "of the database, for two looks"
    assert [one["id"] for one in page["data"]] == ids[::-1]
    for one in page["data"]:
        assert (one["num_classes"], one["num_files"], one["size_bytes"]) == (14_000, 1_000, 3_000)
        assert (one["class_names"], one["templates"], one["summary"]["images_per_class"]) == (
            None,
            None,
            None,
        )
    alone = fresh.http.get(f"/v1/datasets/{ids[0]}").json()
    assert alone["class_names"] == names
    assert (alone["num_classes"], alone["num_files"], alone["size_bytes"]) == (14_000, 1_000, 3_000)


@contextlib.contextmanager
def num_bytes_read(service: Service) -> Iterator[list[int]]:
    """Of every statement of the service, what the database answered."""
    sizes: list[int] = []

    def count(_connection: Any, cursor: Any, *_: Any) -> None:
        if (found := cursor.pgresult) is not None:
            places = product(range(found.ntuples), range(found.nfields))
            sizes.extend(len(found.get_value(row, column) or b"") for row, column in places)

    event.listen(Engine, "after_cursor_execute", count)
    try:
        yield sizes
    finally:
        event.remove(Engine, "after_cursor_execute", count)


def test_a_page_of_checkpoints_leaves_out_what_was_found(service: Service, fresh: Tenant) -> None:
    ids = [service.checkpoint(project_id=fresh.project_id) for _ in range(12)]
    service.execute(
        "UPDATE checkpoints"
        " SET inspection = inspection || jsonb_build_object('findings', CAST(:found AS jsonb))"
        " WHERE project_id = :project",
        found=json.dumps(["x" * 1000] * 250),
        project=fresh.project_id,
    )
    [page] = pages(fresh, "/v1/checkpoints")
    assert [one["id"] for one in page["data"]] == ids[::-1]
    for one in page["data"]:
        assert one["architecture_name"]
        assert [one[name] for name in ("architecture", "assumed", "findings", "scanners")] == [None] * 4
    assert len(fresh.http.get(f"/v1/checkpoints/{ids[0]}").json()["findings"]) == 250


def test_a_page_of_jobs_ends_where_it_has_enough_bytes_and_the_next_goes_on(
    fresh: Tenant, order: dict[str, Any]
) -> None:
    order["metadata"] = {f"key{number}": "\U0001f600" * 512 for number in range(32)}
    ids = [fresh.http.post("/v1/jobs", json=order).json()["id"] for _ in range(25)]
    found = list(pages(fresh, "/v1/jobs"))
    assert len(found) > 1
    assert [one["id"] for page in found for one in page["data"]] == ids[::-1]
    alone = fresh.http.get(f"/v1/jobs/{ids[0]}").json()
    assert alone == found[-1]["data"][-1], "a list shows all of a job"


def test_a_page_of_events_is_bounded_as_well(service: Service, fresh: Tenant, order: dict[str, Any]) -> None:
    job_id = fresh.http.post("/v1/jobs", json=order).json()["id"]
    service.execute(
        "INSERT INTO job_events (job_id, seq, project_id, type, data)"
        " SELECT :job, n, :project, 'note', jsonb_build_object('text', repeat('x', 100000))"
        " FROM generate_series(2, 26) n",
        job=job_id,
        project=fresh.project_id,
    )
    found = list(pages(fresh, f"/v1/jobs/{job_id}/events", "last_seq"))
    assert len(found) > 1
    assert [one["seq"] for page in found for one in page["data"]] == list(range(1, 27))


def num_looks_at_jobs(asked: list[str]) -> int:
    return sum(" FROM jobs " in statement for statement in asked)


def test_a_list_reads_the_rows_of_jobs_that_are_new_or_changed_and_no_others(
    service: Service, fresh: Tenant, order: dict[str, Any]
) -> None:
    jobs = [fresh.http.post("/v1/jobs", json=order).json() for _ in range(3)]
    with service.statements() as asked:
        first = fresh.http.get("/v1/jobs")
    assert num_looks_at_jobs(asked) == 2
    assert first.json()["data"] == jobs[::-1]
    assert (first.json()["first_id"], first.json()["last_id"]) == (jobs[2]["id"], jobs[0]["id"])
    with service.statements() as asked:
        again = fresh.http.get("/v1/jobs")
    assert num_looks_at_jobs(asked) == 1
    assert again.content == first.content
    JobPage.model_validate_json(again.content)
    changed = fresh.http.patch(f"/v1/jobs/{jobs[1]['id']}", json={"name": "another"}).json()
    with service.statements() as asked:
        listed = fresh.http.get("/v1/jobs").json()["data"]
    assert num_looks_at_jobs(asked) == 2
    assert listed == [jobs[2], changed, jobs[0]]


def test_an_unchanged_list_is_known_by_its_etag_before_a_row_is_read(
    service: Service, fresh: Tenant, order: dict[str, Any]
) -> None:
    fresh.http.post("/v1/jobs", json=order)
    etag = fresh.http.get("/v1/jobs").headers["etag"]
    service.ports.written_jobs.keep([("job_other", 1, b"x" * (MOST_BYTES + 1))])  # nothing else is kept now
    with service.statements() as asked:
        assert fresh.http.get("/v1/jobs", headers={"If-None-Match": etag}).status_code == 304
    assert num_looks_at_jobs(asked) == 1


def test_what_a_list_wrote_is_in_no_list_of_another_project_and_in_none_after_a_deletion(
    fresh: Tenant, others: httpx.Client, order: dict[str, Any]
) -> None:
    job = fresh.http.post("/v1/jobs", json=order).json()
    assert fresh.http.get("/v1/jobs").json()["data"] == [job]
    assert job["id"] not in others.get("/v1/jobs").text
    assert fresh.http.post(f"/v1/jobs/{job['id']}/cancel").status_code == 202
    assert fresh.http.delete(f"/v1/jobs/{job['id']}").status_code == 202
    assert fresh.http.get("/v1/jobs").json()["data"] == []
