"""Uploads over HTTP: the plan, parts by presigned URL, resuming, completing, and how each goes wrong."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from app.domain.errors import Unavailable
from app.services import uploads
from app.storage.errors import StoreUnavailable
from tests.integration.api.service import MIB, Service, refused

ANNOUNCED = {"filename": "clip.pt", "size_bytes": 12 * MIB + 5}


def body_of(size_bytes: int) -> bytes:
    """Bytes that differ from part to part."""
    return b"".join(hashlib.sha256(bytes([n % 251])).digest() * 1024 for n in range(size_bytes // 32768 + 1))[
        :size_bytes
    ]


CONTENT = body_of(12 * MIB + 5)


def send_parts(
    upload: dict[str, Any], content: bytes, numbers: set[int] | None = None
) -> list[dict[str, Any]]:
    """PUT the parts to the store, as a client does: no key, nothing but the bytes."""
    sent = []
    for part in upload["parts"]:
        if numbers is not None and part["number"] not in numbers:
            continue
        start = (part["number"] - 1) * upload["part_size_bytes"]
        answer = httpx.put(part["url"], content=content[start : start + part["size_bytes"]])
        assert answer.status_code == 200, answer.text
        sent.append({"number": part["number"], "etag": answer.headers["etag"]})
    return sent


def create(api: httpx.Client, **changes: Any) -> dict[str, Any]:
    answer = api.post("/v1/uploads", json=ANNOUNCED | changes)
    assert answer.status_code == 201, answer.text
    upload: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"/v1/uploads/{upload['id']}"
    return upload


def test_a_file_goes_up_in_parts_and_becomes_a_checkpoint_in_quarantine(
    service: Service, api: httpx.Client
) -> None:
    upload = create(api, sha256=hashlib.sha256(CONTENT).hexdigest(), declared={"quick_gelu": True})
    assert upload["state"] == "open"
    assert (upload["part_size_bytes"], upload["num_parts"]) == (5 * MIB, 3)
    assert [part["size_bytes"] for part in upload["parts"]] == [5 * MIB, 5 * MIB, 2 * MIB + 5]
    sent = send_parts(upload, CONTENT)
    done = api.post(f"/v1/uploads/{upload['id']}/complete", json={"parts": sent})
    assert done.status_code == 200, done.text
    assert done.json()["state"] == "completed"
    checkpoint = api.get(f"/v1/checkpoints/{done.json()['checkpoint_id']}").json()
    assert checkpoint["state"] == "quarantined"
    assert checkpoint["declared"]["quick_gelu"] is True
    assert checkpoint["size_bytes"] == len(CONTENT)
    with service.database.unit_of_work() as unit:
        row = unit.checkpoints.get(service.ours.project_id, checkpoint["id"])
        job = unit.jobs.get(service.ours.project_id, row.inspect_job_id or "")
    assert job.kind == "inspect"
    assert service.publisher.sent[-1][0] == job.id
    assert row.upload_object_key is not None
    assert service.ours.project_id in row.upload_object_key
    assert b"".join(service.store.stream(row.upload_object_key)) == CONTENT
    assert api.get(f"/v1/jobs/{job.id}").status_code == 404, "the service's own jobs are not shown"
    assert job.id not in [shown["id"] for shown in api.get("/v1/jobs").json()["data"]]


def test_completing_twice_gives_the_same_answer_and_one_checkpoint(
    service: Service, api: httpx.Client
) -> None:
    upload = create(api)
    send_parts(upload, CONTENT)
    first = api.post(f"/v1/uploads/{upload['id']}/complete")
    with service.nothing_left_behind():
        second = api.post(f"/v1/uploads/{upload['id']}/complete")
    assert (first.status_code, second.status_code) == (200, 200)
    assert first.json() == second.json()


def test_an_upload_whose_completion_was_cut_after_the_store_had_finished_can_be_completed(
    service: Service, api: httpx.Client
) -> None:
    upload = create(api)
    send_parts(upload, CONTENT)
    with service.database.unit_of_work() as unit:
        row = unit.uploads.get(service.ours.project_id, upload["id"])
    assert row.store_upload_id is not None
    parts = service.store.list_parts(row.object_key, row.store_upload_id)
    service.store.complete_multipart(row.object_key, row.store_upload_id, parts, size_bytes=len(CONTENT))
    done = api.post(f"/v1/uploads/{upload['id']}/complete")
    assert done.status_code == 200, done.text
    assert done.json()["checkpoint_id"] is not None


def test_an_upload_is_resumed_with_what_the_store_has(api: httpx.Client) -> None:
    upload = create(api)
    send_parts(upload, CONTENT, {1, 3})
    found = api.get(f"/v1/uploads/{upload['id']}").json()
    assert [(part["number"], part["size_bytes"]) for part in found["stored_parts"]] == [
        (1, 5 * MIB),
        (3, 2 * MIB + 5),
    ]
    fresh = api.post(f"/v1/uploads/{upload['id']}/parts", json={"numbers": [2, 2]}).json()
    assert [part["number"] for part in fresh["parts"]] == [2]
    send_parts(upload | {"parts": fresh["parts"]}, CONTENT)
    assert api.post(f"/v1/uploads/{upload['id']}/complete").json()["state"] == "completed"


def test_a_missing_part_is_named_and_can_still_be_sent(service: Service, api: httpx.Client) -> None:
    upload = create(api)
    send_parts(upload, CONTENT, {1, 3})
    with service.nothing_left_behind():
        problem = refused(api.post(f"/v1/uploads/{upload['id']}/complete"), 409, "upload_parts_missing")
    assert "missing: 2." in problem["detail"]
    send_parts(upload, CONTENT, {2})
    assert api.post(f"/v1/uploads/{upload['id']}/complete").status_code == 200


def test_completing_an_upload_without_any_part_names_them_all(api: httpx.Client) -> None:
    upload = create(api)
    problem = refused(api.post(f"/v1/uploads/{upload['id']}/complete"), 409, "upload_parts_missing")
    assert "1, 2, 3" in problem["detail"]


def test_a_part_of_another_size_than_planned_is_refused(service: Service, api: httpx.Client) -> None:
    upload = create(api)
    send_parts(upload, CONTENT, {1, 2})
    short, long = CONTENT[10 * MIB : -1], CONTENT[10 * MIB :] + b"x"
    for body in (short, long):
        assert httpx.put(upload["parts"][2]["url"], content=body).status_code == 403
    put_past_the_signature(service, upload, 3, short)
    with service.nothing_left_behind():
        problem = refused(api.post(f"/v1/uploads/{upload['id']}/complete"), 422, "upload_size_mismatch")
    assert "part 3" in problem["detail"]


@pytest.mark.parametrize("number", [3, 4], ids=["larger", "beyond the plan"])
def test_more_bytes_than_planned_are_deleted_where_a_store_took_them(
    service: Service, api: httpx.Client, number: int
) -> None:
    before = service.multipart_keys()
    upload = create(api)
    send_parts(upload, CONTENT, {1, 2})
    put_past_the_signature(service, upload, number, bytes(5 * MIB))
    refused(api.post(f"/v1/uploads/{upload['id']}/complete"), 422, "upload_size_mismatch")
    assert service.multipart_keys() == before
    refused(api.post(f"/v1/uploads/{upload['id']}/complete"), 409, "upload_lost")


def put_past_the_signature(service: Service, upload: dict[str, Any], number: int, body: bytes) -> None:
    """As a store would let it in that does not hold the body against the length that was signed."""
    with service.database.unit_of_work() as unit:
        row = unit.uploads.get(service.ours.project_id, upload["id"])
    service.store.upload_part(row.object_key, str(row.store_upload_id), number, body)


def test_an_etag_that_the_store_does_not_hold_is_refused_with_its_pointer(api: httpx.Client) -> None:
    upload = create(api)
    sent = send_parts(upload, CONTENT)
    sent[1]["etag"] = '"0123456789abcdef"'
    answer = api.post(f"/v1/uploads/{upload['id']}/complete", json={"parts": sent})
    refused(answer, 409, "upload_part_mismatch", "/parts/1/etag")


def test_a_part_outside_the_plan_has_no_url(api: httpx.Client) -> None:
    upload = create(api)
    answer = api.post(f"/v1/uploads/{upload['id']}/parts", json={"numbers": [1, 4]})
    refused(answer, 422, "upload_part_unknown", "/numbers/1")


def test_a_presigned_url_takes_its_own_part_only(api: httpx.Client) -> None:
    upload = create(api)
    url = upload["parts"][0]["url"]
    assert httpx.put(url.replace("partNumber=1", "partNumber=2"), content=b"x").status_code == 403
    assert httpx.get(url).status_code in {403, 405}
    assert service_secret_free(upload)


def service_secret_free(upload: dict[str, Any]) -> bool:
    """The store's own name of the upload is in the URLs only."""
    return "store_upload_id" not in upload and "object_key" not in upload


def test_cancelling_removes_parts_and_bars_completion(service: Service, api: httpx.Client) -> None:
    before = service.multipart_keys()
    upload = create(api)
    sent = send_parts(upload, CONTENT, {1})
    assert len(service.multipart_keys()) == len(before) + 1
    assert api.post(f"/v1/uploads/{upload['id']}/cancel").json()["state"] == "cancelled"
    assert service.multipart_keys() == before
    assert api.post(f"/v1/uploads/{upload['id']}/cancel").status_code == 200, "again: unchanged"
    refused(
        api.post(f"/v1/uploads/{upload['id']}/complete", json={"parts": sent}), 409, "upload_state_conflict"
    )
    refused(
        api.post(f"/v1/uploads/{upload['id']}/parts", json={"numbers": [1]}), 409, "upload_state_conflict"
    )
    refused(api.put(f"/v1/uploads/{upload['id']}/content", content=CONTENT), 409, "upload_state_conflict")


def test_a_completed_upload_cannot_be_cancelled(api: httpx.Client) -> None:
    upload = create(api)
    send_parts(upload, CONTENT)
    api.post(f"/v1/uploads/{upload['id']}/complete")
    refused(api.post(f"/v1/uploads/{upload['id']}/cancel"), 409, "upload_state_conflict")


def test_a_digest_given_at_the_end_is_what_the_inspection_will_hold_the_bytes_against(
    api: httpx.Client,
) -> None:
    upload = create(api)
    send_parts(upload, CONTENT)
    digest = hashlib.sha256(CONTENT).hexdigest()
    done = api.post(f"/v1/uploads/{upload['id']}/complete", json={"sha256": digest}).json()
    assert (done["state"], done["sha256"]) == ("completed", digest)


def test_a_digest_at_the_end_that_differs_from_the_declared_one_is_refused_and_can_be_mended(
    api: httpx.Client,
) -> None:
    digest = hashlib.sha256(CONTENT).hexdigest()
    upload = create(api, sha256=digest)
    send_parts(upload, CONTENT)
    here = f"/v1/uploads/{upload['id']}/complete"
    refused(api.post(here, json={"sha256": "0" * 64}), 422, "upload_digest_mismatch", "/sha256")
    send_parts(upload, CONTENT, {2})  # the parts are where they were
    assert api.post(here, json={"sha256": digest}).json()["state"] == "completed"


def test_a_key_of_another_request_leaves_the_parts_where_they_are(api: httpx.Client) -> None:
    key = {"Idempotency-Key": "announced-with-it"}
    upload = api.post("/v1/uploads", json=ANNOUNCED, headers=key).json()
    send_parts(upload, CONTENT)
    here = f"/v1/uploads/{upload['id']}"
    refused(api.post(f"{here}/complete", headers=key), 422, "idempotency_key_reused")
    assert len(api.get(here).json()["stored_parts"]) == upload["num_parts"]


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ("state = 'cancelled'", (409, "upload_state_conflict")),
        ("state = 'cancelled', deleted_at = now()", (404, "upload_not_found")),
    ],
    ids=["cancelled", "deleted"],
)
def test_an_upload_given_up_while_it_is_put_together_leaves_no_object(
    service: Service,
    api: httpx.Client,
    monkeypatch: pytest.MonkeyPatch,
    change: str,
    refusal: tuple[int, str],
) -> None:
    upload = create(api)
    send_parts(upload, CONTENT)
    store = service.ports.store
    real = store.complete_multipart

    def given_up_meanwhile(*args: Any, **kwargs: Any) -> Any:
        service.execute(f"UPDATE uploads SET {change} WHERE id = :id", id=upload["id"])
        return real(*args, **kwargs)

    monkeypatch.setattr(store, "complete_multipart", given_up_meanwhile)
    refused(api.post(f"/v1/uploads/{upload['id']}/complete"), *refusal)
    assert not [stored.key for stored in service.store.list_prefix("") if upload["id"] in stored.key]


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"size_bytes": 0}, "/size_bytes"),
        ({"size_bytes": -1}, "/size_bytes"),
        ({"size_bytes": "many"}, "/size_bytes"),
        ({"filename": ""}, "/filename"),
        ({"filename": "../../etc/passwd"}, "/filename"),
        ({"filename": "a\nb"}, "/filename"),
        ({"filename": "a\x00b"}, "/filename"),
        ({"filename": "x" * 256}, "/filename"),
        ({"sha256": "ABC"}, "/sha256"),
        ({"purpose": "malware"}, "/purpose"),
        ({"colour": "red"}, "/colour"),
        ({"declared": {"quick_gelu": True, "heads": 3}}, "/declared/heads"),
        ({"declared": {"num_heads_vision": 0}}, "/declared/num_heads_vision"),
        ({"declared": {"quick_gelu": True}, "purpose": "dataset"}, "/declared"),
    ],
)
def test_a_wrong_announcement_is_refused_with_a_pointer(
    service: Service, api: httpx.Client, change: dict[str, Any], pointer: str
) -> None:
    with service.nothing_left_behind():
        refused(api.post("/v1/uploads", json=ANNOUNCED | change), 422, "invalid_request", pointer)


def test_a_file_larger_than_the_service_takes_is_refused(service: Service, api: httpx.Client) -> None:
    with service.nothing_left_behind():
        answer = api.post("/v1/uploads", json=ANNOUNCED | {"size_bytes": 2**40})
        refused(answer, 413, "upload_too_large", "/size_bytes")


@pytest.mark.parametrize("action", ["complete", "cancel"])
def test_parts_that_no_row_names_go_with_the_upload_that_they_were_sent_for(
    service: Service, api: httpx.Client, action: str
) -> None:
    """As a process that is killed in `PUT …/content` leaves them."""
    before = service.multipart_keys()
    upload = create(api)
    send_parts(upload, CONTENT)
    key = f"uploads/{service.ours.project_id}/{upload['id']}"
    service.store.upload_part(key, service.store.create_multipart(key), 1, bytes(5 * MIB))
    assert api.post(f"/v1/uploads/{upload['id']}/{action}").status_code == 200
    assert service.multipart_keys() == before


@pytest.mark.parametrize("call", ["get", "parts", "content", "complete", "cancel"])
def test_a_foreign_upload_is_not_found(
    service: Service, api: httpx.Client, others: httpx.Client, call: str
) -> None:
    here = f"/v1/uploads/{create(api)['id']}"
    answers = {
        "get": lambda: others.get(here),
        "parts": lambda: others.post(f"{here}/parts", json={"numbers": [1]}),
        "content": lambda: others.put(f"{here}/content", content=b"x"),
        "complete": lambda: others.post(f"{here}/complete"),
        "cancel": lambda: others.post(f"{here}/cancel"),
    }
    with service.nothing_left_behind():
        refused(answers[call](), 404, "upload_not_found")
    assert api.get(here).json()["state"] == "open"


def test_completed_by_two_at_once_it_becomes_one_checkpoint(service: Service, api: httpx.Client) -> None:
    upload = create(api)
    send_parts(upload, CONTENT)
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: api.post(f"/v1/uploads/{upload['id']}/complete"), range(4)))
    assert [answer.status_code for answer in answers] == [200] * 4
    assert len({answer.json()["checkpoint_id"] for answer in answers}) == 1


def test_a_store_that_is_away_is_a_503_without_a_row(
    service: Service, api: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any, **__: Any) -> Any:
        raise StoreUnavailable("no route to host 10.0.0.7")

    monkeypatch.setattr(service.ports.store, "create_multipart", away)
    with service.nothing_left_behind():
        problem = refused(api.post("/v1/uploads", json=ANNOUNCED), 503, "store_unavailable")
    assert "10.0.0.7" not in str(problem)


def test_a_database_that_fails_at_the_commit_leaves_no_upload_at_the_store(
    service: Service, api: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise Unavailable("database_unavailable", "The database does not answer.", "Try again.")

    monkeypatch.setattr(uploads, "create", broken)
    with service.nothing_left_behind():
        refused(api.post("/v1/uploads", json=ANNOUNCED), 503, "database_unavailable")


def test_a_digest_that_comes_after_the_completion_is_refused_not_ignored(api: httpx.Client) -> None:
    upload = create(api)
    send_parts(upload, CONTENT)
    here = f"/v1/uploads/{upload['id']}/complete"
    assert api.post(here).json()["sha256"] is None
    refused(api.post(here, json={"sha256": "0" * 64}), 422, "upload_digest_mismatch", "/sha256")
    assert api.post(here).status_code == 200
