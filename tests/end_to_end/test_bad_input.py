"""What the API itself refuses, sent to the whole running service: orders, references, bodies, uploads.

Each is answered with its status, code, pointer and remedy, and leaves no row and no object. What only a
worker can find out is sent first: it is looked at in `test_rejected`, and the workers are busy meanwhile.
"""

import json
import socket
from typing import Any
from urllib.parse import urlsplit

import pytest
from sqlalchemy import text

from tests.end_to_end.bad_inputs import announce, put_part
from tests.end_to_end.live import Live
from tests.end_to_end.subject import RECIPE, TARGET, Subject
from tests.integration.api.service import MIB, Tenant, refused

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.usefixtures("sent")]


def order(subject: Subject, **changes: Any) -> dict[str, Any]:
    """A good order, as JSON, changed at top level."""
    wanted: dict[str, Any] = json.loads(json.dumps(subject.order(**changes)))
    return wanted


@pytest.mark.parametrize(
    ("changed", "pointer"),
    [
        ({"lambda1": -0.1}, "/recipe/lambda1"),
        ({"lambda2": 101}, "/recipe/lambda2"),
        ({"lambda1": 0, "lambda2": 0}, "/recipe"),
        ({"learning_rate": 0}, "/recipe/learning_rate"),
        ({"learning_rate": 1.5}, "/recipe/learning_rate"),
        ({"learning_rate": "fast"}, "/recipe/learning_rate"),
        ({"epochs": 0}, "/recipe/epochs"),
        ({"epochs": 101}, "/recipe/epochs"),
        ({"epochs": 1.5}, "/recipe/epochs"),
        ({"batch_size": 1}, "/recipe/batch_size"),
        ({"lamda1": 1.0}, "/recipe/lamda1"),
    ],
)
def test_a_recipe_out_of_bounds_is_refused(
    live: Live, subject: Subject, changed: dict[str, Any], pointer: str
) -> None:
    with live.nothing_left_behind(live.ours):
        answer = live.ours.http.post("/v1/jobs", json=order(subject, recipe=RECIPE | changed))
        refused(answer, 422, "invalid_request", pointer)


@pytest.mark.parametrize("not_json", ["NaN", "Infinity", "1e999"])
def test_a_number_that_is_none_is_refused(live: Live, subject: Subject, not_json: str) -> None:
    body = json.dumps(order(subject)).replace('"learning_rate": 0.0003', f'"learning_rate": {not_json}')
    assert not_json in body
    with live.nothing_left_behind(live.ours):
        answer = live.ours.http.post("/v1/jobs", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code in {400, 422}
        refused(answer, answer.status_code, answer.json()["code"])


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"epoch": 3}, "/epoch"),
        ({"policy": {"asr": 0.1}}, "/policy/asr"),
        ({"seed": -1}, "/seed"),
        ({"max_attempts": 0}, "/max_attempts"),
        ({"output_layout": "onnx"}, "/output_layout"),
        ({"kind": "destroy"}, "/kind"),
        ({"metadata": {"a key": "x"}}, "/metadata/a key"),
    ],
)
def test_an_order_with_unknown_fields_or_values_is_refused(
    live: Live, subject: Subject, changes: dict[str, Any], pointer: str
) -> None:
    with live.nothing_left_behind(live.ours):
        refused(
            live.ours.http.post("/v1/jobs", json=order(subject) | changes), 422, "invalid_request", pointer
        )


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"colour": "red"}, "/audit/colour"),
        ({"attacks": []}, "/audit/attacks"),
        ({"attacks": [{"attack": "magic"}]}, "/audit/attacks/0/attack"),
        ({"attacks": [{"attack": "badnet", "size": 2}]}, "/audit/attacks/0/size"),
        ({"gate": 1}, "/audit/gate"),
    ],
)
def test_an_audit_out_of_bounds_is_refused(
    live: Live, subject: Subject, changes: dict[str, Any], pointer: str
) -> None:
    wanted = order(subject)
    wanted["audit"] |= changes
    with live.nothing_left_behind(live.ours):
        refused(live.ours.http.post("/v1/jobs", json=wanted), 422, "invalid_request", pointer)


def test_a_target_that_the_label_set_lacks_is_refused_with_the_nearest_class(
    live: Live, subject: Subject
) -> None:
    wanted = order(subject)
    wanted["audit"]["target"] = "Yelow seven"
    with live.nothing_left_behind(live.ours):
        problem = refused(
            live.ours.http.post("/v1/jobs", json=wanted), 422, "unknown_target", "/audit/target"
        )
    assert f"'{TARGET}'" in problem["remedy"]


def test_data_sets_in_the_wrong_place_of_an_order_are_refused(live: Live, subject: Subject) -> None:
    swapped = order(subject, dataset_id=subject.labelled.id)
    with live.nothing_left_behind(live.ours):
        refused(live.ours.http.post("/v1/jobs", json=swapped), 422, "dataset_wrong_kind", "/dataset_id")


@pytest.mark.parametrize(
    ("reference", "code"),
    [
        ("s3://{bucket}/uploads/", "dataset_uri_not_allowed"),
        ("s3://{bucket}/", "dataset_uri_invalid"),
        ("s3://another-bucket/data/", "dataset_uri_not_allowed"),
        ("s3://{bucket}/data/../uploads/", "dataset_uri_invalid"),
        ("http://169.254.169.254/latest/meta-data/", "dataset_uri_invalid"),
        ("file:///etc/", "dataset_uri_invalid"),
        ("s3://{bucket}/data/nothing-here/", "dataset_empty"),
        ("s3://{bucket}/data/pairs/gone-{{0..3}}.tar", "dataset_empty"),
    ],
)
def test_a_reference_outside_the_allowed_places_or_to_nothing_is_refused(
    live: Live, subject: Subject, reference: str, code: str
) -> None:
    body = {"kind": "pairs", "uri": reference.format(bucket=live.store.bucket)}
    with live.nothing_left_behind(live.ours):
        refused(live.ours.http.post("/v1/datasets", json=body), 422, code, "/uri")


def test_a_body_over_the_limit_is_refused_unread(live: Live, subject: Subject) -> None:
    body = json.dumps(order(subject) | {"metadata": {"x": "x" * MIB}})
    with live.nothing_left_behind(live.ours):
        answer = live.ours.http.post("/v1/jobs", content=body, headers={"Content-Type": "application/json"})
        refused(answer, 413, "body_too_large")
    address = urlsplit(live.url)
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=30) as connection:
        connection.sendall(b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000000\r\n\r\n")
        assert connection.recv(200).startswith(b"HTTP/1.1 413")


# ---------------------------------------------------------------- uploads


def test_a_file_larger_than_allowed_or_empty_is_refused(live: Live) -> None:
    with live.nothing_left_behind(live.ours):
        for size_bytes, status, code in ((2**50, 413, "upload_too_large"), (0, 422, "invalid_request")):
            answer = live.ours.http.post("/v1/uploads", json={"filename": "x", "size_bytes": size_bytes})
            refused(answer, status, code, "/size_bytes")


@pytest.mark.parametrize("num_bytes", [99, 101])
def test_a_body_of_another_size_than_announced_is_refused(live: Live, num_bytes: int) -> None:
    tenant = live.ours
    upload = announce(tenant, 100)
    with live.nothing_left_behind(tenant):
        answer = tenant.http.put(f"/v1/uploads/{upload['id']}/content", content=bytes(num_bytes))
        refused(answer, 422, "upload_size_mismatch")
    give_up(live, tenant, upload)


def test_a_body_with_another_digest_than_declared_is_refused(live: Live) -> None:
    tenant = live.ours
    upload = announce(tenant, 100, sha256="0" * 64)
    with live.nothing_left_behind(tenant):
        answer = tenant.http.put(f"/v1/uploads/{upload['id']}/content", content=bytes(100))
        refused(answer, 422, "upload_digest_mismatch")
    give_up(live, tenant, upload)


def test_an_upload_with_a_part_missing_or_of_the_wrong_size_is_not_put_together(live: Live) -> None:
    tenant = live.ours
    upload = announce(tenant, 5 * MIB + 10)
    complete = f"/v1/uploads/{upload['id']}/complete"
    put_part(upload, 2, bytes(10))
    with live.nothing_left_behind(tenant):
        problem = refused(tenant.http.post(complete), 409, "upload_parts_missing")
    assert "1" in problem["detail"]
    for size_bytes in (5 * MIB - 1, 5 * MIB + 1):
        put_part(upload, 1, bytes(size_bytes), status=403)
    with live.nothing_left_behind(tenant):
        refused(tenant.http.post(complete), 409, "upload_parts_missing")
    give_up(live, tenant, upload)


def give_up(live: Live, tenant: Tenant, upload: dict[str, Any]) -> None:
    """The refused upload is still open; cancelled, nothing of it stays, and it cannot be completed."""
    here = f"/v1/uploads/{upload['id']}"
    assert tenant.http.get(here).json()["state"] == "open"
    assert tenant.http.post(f"{here}/cancel").status_code == 200
    refused(tenant.http.post(f"{here}/complete"), 409, "upload_state_conflict")
    assert [key for key in live.objects(tenant) if upload["id"] in key] == []


def test_completing_twice_makes_one_checkpoint(live: Live) -> None:
    tenant = live.careless
    body = b"nothing that anybody could use"
    upload = announce(tenant, len(body))
    put_part(upload, 1, body)
    complete = f"/v1/uploads/{upload['id']}/complete"
    first, second = tenant.http.post(complete), tenant.http.post(complete)
    assert (first.status_code, second.status_code) == (200, 200)
    checkpoint_id = first.json()["checkpoint_id"]
    assert second.json()["checkpoint_id"] == checkpoint_id
    assert num_rows(live, "checkpoints", upload_id=upload["id"]) == 1
    assert num_rows(live, "jobs", checkpoint_id=checkpoint_id) == 1


def num_rows(live: Live, table: str, **where: str) -> int:
    ((column, value),) = where.items()
    with live.engine.connect() as connection:
        query = text(f"SELECT count(*) FROM {table} WHERE {column} = :value")
        return int(connection.execute(query, {"value": value}).scalar_one())
