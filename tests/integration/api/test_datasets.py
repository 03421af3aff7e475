"""Registering datasets over HTTP: references that are allowed and those that are not, uploads, deletion."""

from typing import Any

import httpx
import pytest

from app.domain.states import DatasetKind, DatasetState
from tests.integration.api.service import Service, refused
from tests.integration.api.validated import give_samples, sample, validation_of


@pytest.fixture
def shards(service: Service) -> str:
    """Three empty shards in an allowed place; the folder's reference."""
    for number in range(3):
        service.store.put_bytes(f"allowed/pairs/pairs-{number:06d}.tar", b"\0" * 1024)
    return f"s3://{service.store.bucket}/allowed/pairs/"


def test_a_folder_of_shards_is_registered_and_waits_for_validation(
    service: Service, api: httpx.Client, shards: str
) -> None:
    answer = api.post("/v1/datasets", json={"kind": "pairs", "uri": shards})
    assert answer.status_code == 202, answer.text
    dataset = answer.json()
    assert answer.headers["location"] == f"/v1/datasets/{dataset['id']}"
    assert (dataset["state"], dataset["uri"], dataset["summary"]) == ("validating", shards, None)
    assert api.get(f"/v1/datasets/{dataset['id']}").json() == dataset
    with service.database.unit_of_work() as unit:
        row = unit.datasets.get(service.ours.project_id, dataset["id"])
        job = unit.jobs.get(service.ours.project_id, row.validate_job_id or "")
    assert (job.kind, job.dataset_id) == ("validate", row.id)
    assert service.publisher.sent[-1] == (job.id, "validate")


def test_what_lies_in_a_projects_own_place_is_registered_by_that_project_only(
    service: Service, api: httpx.Client
) -> None:
    key = f"of/{service.ours.project_id}/pairs/0.tar"
    service.store.put_bytes(key, b"\0" * 1024)
    body = {"kind": "pairs", "uri": f"s3://{service.store.bucket}/{key}"}
    refusal = refused(
        service.theirs.http.post("/v1/datasets", json=body), 422, "dataset_uri_not_allowed", "/uri"
    )
    assert service.ours.project_id not in refusal["detail"]
    assert api.post("/v1/datasets", json=body).status_code == 202


def test_a_reference_is_checked_without_being_registered(
    service: Service, api: httpx.Client, shards: str
) -> None:
    with service.nothing_left_behind():
        assert api.post("/v1/datasets/check", json={"uri": shards}).status_code == 204
        refused(api.post("/v1/datasets/check", json={"uri": f"{shards}no/"}), 422, "dataset_empty", "/uri")


def test_a_range_of_shards_is_registered(api: httpx.Client, shards: str) -> None:
    answer = api.post("/v1/datasets", json={"kind": "pairs", "uri": f"{shards}pairs-{{000000..000002}}.tar"})
    assert answer.status_code == 202, answer.text


def test_a_labelled_set_takes_classes_and_templates_from_the_request(api: httpx.Client, shards: str) -> None:
    body = {
        "kind": "labelled",
        "uri": shards,
        "class_names": ["cat", "dog"],
        "templates": ["a photo of a {c}."],
        "max_skipped_share": 0.1,
    }
    dataset = api.post("/v1/datasets", json=body).json()
    assert (dataset["class_names"], dataset["templates"]) == (["cat", "dog"], ["a photo of a {c}."])
    assert dataset["max_skipped_share"] == 0.1


@pytest.mark.parametrize(
    "uri",
    [
        "s3://{bucket}/allowed/../secret/",
        "s3://{bucket}/allowed/./x/",
        "s3://{bucket}/allowed//x/",
        "s3://{bucket}/allowed/%2e%2e/secret/",
        "s3://{bucket}/allowed/x/?versionId=1",
        "s3://{bucket}/allowed/x.zip",
        "s3://user@{bucket}/allowed/",
        "s3://{bucket}:80/allowed/",
        "s3://{bucket}/allowed/a\\b/",
        "s3://{bucket}/allowed/a\nb/",
        "s3://{bucket}/allowed/ü/",
        "s3://{bucket}",
        "s3://{bucket}/",
        "s3:///allowed/x/",
        "S3://{bucket}/allowed/x/",
        "file:///etc/passwd",
        "http://169.254.169.254/latest/meta-data/",
        "https://{bucket}/allowed/x/",
        "/allowed/x/",
        "hf://org/name@main",
        "s3://{bucket}/allowed/x-{{9..1}}.tar",
    ],
)
def test_a_reference_that_is_not_plain_is_refused(service: Service, api: httpx.Client, uri: str) -> None:
    body = {"kind": "pairs", "uri": uri.format(bucket=service.store.bucket)}
    with service.nothing_left_behind():
        refused(api.post("/v1/datasets", json=body), 422, "dataset_uri_invalid", "/uri")


@pytest.mark.parametrize(
    "uri",
    [
        "s3://{bucket}/uploads/",
        "s3://{bucket}/allowed-not/x/",
        "s3://other-bucket/allowed/",
        "s3://{bucket}/x.tar",
    ],
)
def test_a_reference_outside_the_allowed_places_is_refused(
    service: Service, api: httpx.Client, uri: str
) -> None:
    body = {"kind": "pairs", "uri": uri.format(bucket=service.store.bucket)}
    with service.nothing_left_behind():
        refused(api.post("/v1/datasets", json=body), 422, "dataset_uri_not_allowed", "/uri")
        refused(
            api.post("/v1/datasets/check", json={"uri": body["uri"]}), 422, "dataset_uri_not_allowed", "/uri"
        )


def test_a_range_of_too_many_shards_is_refused_before_it_is_written_out(
    service: Service, api: httpx.Client, shards: str
) -> None:
    for last in ("000050", "999999999"):
        body = {"kind": "pairs", "uri": f"{shards}pairs-{{000000..{last}}}.tar"}
        with service.nothing_left_behind():
            refused(api.post("/v1/datasets", json=body), 422, "dataset_too_many_shards", "/uri")


@pytest.mark.parametrize("name", ["nothing/", "pairs/no-{0..2}.tar", "pairs/pairs-{000000..000009}.tar"])
def test_a_reference_where_nothing_is_is_refused(
    service: Service, api: httpx.Client, shards: str, name: str
) -> None:
    body = {"kind": "pairs", "uri": shards.removesuffix("pairs/") + name}
    with service.nothing_left_behind():
        refused(api.post("/v1/datasets", json=body), 422, "dataset_empty", "/uri")


def test_a_folder_without_shards_is_empty(service: Service, api: httpx.Client) -> None:
    service.store.put_bytes("allowed/texts/readme.txt", b"hello")
    body = {"kind": "pairs", "uri": f"s3://{service.store.bucket}/allowed/texts/"}
    with service.nothing_left_behind():
        refused(api.post("/v1/datasets", json=body), 422, "dataset_empty", "/uri")


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"kind": "videos"}, "/kind"),
        ({"uri": None}, "/uri"),
        ({"upload_id": "upl_" + "0" * 26}, "/uri"),
        ({"upload_id": "upl_1", "uri": None}, "/upload_id"),
        ({"class_names": ["a", "b"]}, "/class_names"),
        ({"templates": ["{c}"]}, "/templates"),
        ({"kind": "labelled", "class_names": ["a", "a"]}, "/class_names"),
        ({"kind": "labelled", "class_names": ["a"]}, "/class_names"),
        ({"kind": "labelled", "templates": ["no place for the class"]}, "/templates/0"),
        ({"max_skipped_share": 1.5}, "/max_skipped_share"),
        ({"colour": "red"}, "/colour"),
        ({"uri": "s3://" + "x" * 2000}, "/uri"),
    ],
)
def test_a_wrong_registration_is_refused_with_a_pointer(
    service: Service, api: httpx.Client, shards: str, change: dict[str, Any], pointer: str
) -> None:
    body = {"kind": "pairs", "uri": shards} | change
    body = {name: value for name, value in body.items() if value is not None}
    with service.nothing_left_behind():
        refused(api.post("/v1/datasets", json=body), 422, "invalid_request", pointer)


def uploaded(api: httpx.Client, *, purpose: str = "dataset", is_complete: bool = True) -> str:
    announced = {"filename": "pairs.tar", "size_bytes": 1024, "purpose": purpose}
    upload = str(api.post("/v1/uploads", json=announced).json()["id"])
    assert api.put(f"/v1/uploads/{upload}/content", content=bytes(1024)).status_code == 200
    if is_complete:
        done = api.post(f"/v1/uploads/{upload}/complete").json()
        assert (done["checkpoint_id"] is None) == (purpose == "dataset")
    return upload


def test_an_upload_becomes_a_data_set(service: Service, api: httpx.Client) -> None:
    upload = uploaded(api)
    answer = api.post("/v1/datasets", json={"kind": "pairs", "upload_id": upload})
    assert answer.status_code == 202, answer.text
    assert (answer.json()["upload_id"], answer.json()["uri"]) == (upload, None)


def test_an_upload_that_cannot_become_a_data_set_is_refused(service: Service, api: httpx.Client) -> None:
    for upload in (uploaded(api, is_complete=False), uploaded(api, purpose="checkpoint")):
        with service.nothing_left_behind():
            answer = api.post("/v1/datasets", json={"kind": "pairs", "upload_id": upload})
            refused(answer, 409, "dataset_upload_unusable", "/upload_id")


def test_a_foreign_upload_cannot_become_a_data_set(
    service: Service, api: httpx.Client, others: httpx.Client
) -> None:
    upload = uploaded(api)
    with service.nothing_left_behind():
        answer = others.post("/v1/datasets", json={"kind": "pairs", "upload_id": upload})
        refused(answer, 404, "upload_not_found")


def test_deleting_a_data_set_cancels_its_validation_and_keeps_the_shards(
    service: Service, api: httpx.Client, shards: str
) -> None:
    dataset = api.post("/v1/datasets", json={"kind": "pairs", "uri": shards}).json()["id"]
    with service.database.unit_of_work() as unit:
        job_id = unit.datasets.get(service.ours.project_id, dataset).validate_job_id or ""
    assert api.delete(f"/v1/datasets/{dataset}").status_code == 202
    refused(api.get(f"/v1/datasets/{dataset}"), 404, "dataset_not_found")
    refused(api.delete(f"/v1/datasets/{dataset}"), 404, "dataset_not_found")
    with service.database.unit_of_work() as unit:
        assert unit.jobs.get(service.ours.project_id, job_id).state == "cancelled"
    assert len(list(service.store.list_prefix("allowed/pairs/"))) == 3


def test_a_deleted_data_set_gets_no_job(service: Service, api: httpx.Client) -> None:
    order = service.sanitize_order(dataset_id=service.dataset(DatasetKind.PAIRS))
    api.delete(f"/v1/datasets/{order['dataset_id']}")
    refused(api.post("/v1/jobs", json=order), 404, "dataset_not_found", "/dataset_id")


def test_a_ready_data_set_shows_its_samples_to_its_project_only(
    service: Service, api: httpx.Client, others: httpx.Client
) -> None:
    dataset = service.dataset(DatasetKind.PAIRS)
    left = give_samples(service, dataset, sample(2), sample(40, caption="<b>bold</b>"))
    answer = api.get(f"/v1/datasets/{dataset}/samples")
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["object"], found["seed"]) == ("dataset_samples", 0)
    assert [(one["index"], one["caption"]) for one in found["samples"]] == [
        (2, "the image number 2"),
        (40, "<b>bold</b>"),
    ]
    again = api.get(f"/v1/datasets/{dataset}/samples", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304
    refused(others.get(f"/v1/datasets/{dataset}/samples"), 404, "dataset_not_found")
    refused(others.get(f"/v1/artifacts/{left['artifact']}/content"), 404, "artifact_not_found")
    assert "jpeg_base64" not in api.get("/v1/datasets").text, "lists do not carry them"


def test_what_has_no_samples_says_why(service: Service, api: httpx.Client) -> None:
    ready = service.dataset(DatasetKind.PAIRS)
    older = service.dataset(DatasetKind.PAIRS)
    validation_of(service, older, state="succeeded")
    rejected = service.dataset(DatasetKind.PAIRS, DatasetState.REJECTED)
    for dataset in (ready, older, rejected):
        refused(api.get(f"/v1/datasets/{dataset}/samples"), 404, "samples_not_found")
    waiting = service.dataset(DatasetKind.PAIRS, DatasetState.VALIDATING)
    refused(api.get(f"/v1/datasets/{waiting}/samples"), 409, "dataset_not_ready")


def test_of_a_deleted_data_set_nobody_sees_samples(service: Service, api: httpx.Client) -> None:
    dataset = service.dataset(DatasetKind.PAIRS)
    give_samples(service, dataset, sample(1))
    assert api.delete(f"/v1/datasets/{dataset}").status_code == 202
    refused(api.get(f"/v1/datasets/{dataset}/samples"), 404, "dataset_not_found")
