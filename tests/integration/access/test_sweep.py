"""Nobody does, sees or learns what is not theirs, over every operation of the running API's own document."""

import json
from collections.abc import Iterator
from datetime import timedelta

import httpx
import pytest

from app.services import trail
from tests.fixtures.rows import OWNED
from tests.integration.access import sweep
from tests.integration.access.belongings import Belongings
from tests.integration.access.calls import Caller, header_faults
from tests.integration.access.conftest import Street
from tests.integration.access.coverage import Coverage
from tests.integration.access.document import Operation, operations
from tests.integration.access.watching import bucket_of, differences, rows_of


@pytest.fixture(scope="module")
def documented(street: Street) -> list[Operation]:
    """Every operation of the document that the running application gives out."""
    return operations(httpx.get(f"{street.service.url}/v1/openapi.json", timeout=60).json())


@pytest.fixture(scope="module")
def known(street: Street, documented: list[Operation]) -> list[Operation]:
    """Those that are placed; the first test names those that are not."""
    return [operation for operation in documented if Coverage().is_placed(operation, street.victim)]


@pytest.fixture
def caller(street: Street) -> Iterator[Caller]:
    caller = Caller(street.service.url, street.work, Coverage())
    yield caller
    caller.close()
    assert caller.num_calls > 0
    assert caller.faults == [], "headers that no answer may have, or lacks"


def strangers_of(street: Street, operation: Operation) -> Belongings:
    return street.onlooker if operation.is_safe else street.stranger


def test_every_operation_and_every_text_of_the_document_is_accounted_for(
    street: Street, documented: list[Operation]
) -> None:
    assert len(documented) > 30
    assert sum(len(operation.ids) for operation in documented) > 30
    assert Coverage().missing(documented, street.victim) == []


def test_the_victim_has_a_row_in_every_table_so_that_a_change_anywhere_is_seen(street: Street) -> None:
    rows = rows_of(street.service, street.victim.tenant.project_id)
    assert set(rows) == {table.name for table in OWNED}
    assert [name for name, found in rows.items() if not found] == []


def test_no_foreign_id_in_any_place_is_told_apart_from_an_absent_one(
    street: Street, known: list[Operation], caller: Caller
) -> None:
    timing = sweep.Timing()
    rows, bucket = rows_of(street.service, street.victim.tenant.project_id), bucket_of(street.service)
    found = []
    for operation in known:
        stranger = strangers_of(street, operation)
        found += sweep.with_foreign_ids(caller, operation, stranger, street.victim, timing)
    assert found == []
    after = rows_of(street.service, street.victim.tenant.project_id)
    assert differences(rows, after, allowed=lambda *_: False) == []
    assert bucket_of(street.service) == bucket
    print(f"\n{caller.num_calls} calls with ids of others; {timing}")


def test_no_operation_takes_a_key_that_is_missing_malformed_unknown_forged_expired_or_revoked(
    street: Street, known: list[Operation], caller: Caller
) -> None:
    rows, bucket = rows_of(street.service, street.victim.tenant.project_id), bucket_of(street.service)
    found = []
    for operation in known:
        found += sweep.with_unusable_keys(caller, operation, street.victim, street.keys)
    assert found == []
    after = rows_of(street.service, street.victim.tenant.project_id)
    assert differences(rows, after, allowed=lambda *_: False) == []
    assert bucket_of(street.service) == bucket
    print(f"\n{caller.num_calls} calls with keys that are none")


def test_no_operation_takes_a_key_of_another_scope(
    street: Street, known: list[Operation], caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Else a first attempt does more than a second, whatever they ask for: one row a minute is noted.
    monkeypatch.setattr(trail, "REFUSALS_NOTED_EVERY", timedelta(seconds=-1))
    rows, bucket = rows_of(street.service, street.victim.tenant.project_id), bucket_of(street.service)
    found = []
    for operation in known:
        found += sweep.with_wrong_scopes(caller, operation, street.victim, street.keys)
    assert found == []
    after = rows_of(street.service, street.victim.tenant.project_id)
    assert differences(rows, after, allowed=is_the_use_of_a_key_or_a_noted_refusal) == []
    assert bucket_of(street.service) == bucket
    print(f"\n{caller.num_calls} calls with keys of another scope")


def is_the_use_of_a_key_or_a_noted_refusal(table: str, old: str, new: str) -> bool:
    if table == "api_keys":
        return without_last_use(old) == without_last_use(new)
    return table == "trail_entries" and not old and '"outcome": "refused"' in new


def without_last_use(row: str) -> str:
    return json.dumps({**json.loads(row or "{}"), "last_used_at": None}, sort_keys=True)


def test_the_sweep_reaches_every_operation_with_what_is_ones_own(
    street: Street, known: list[Operation], caller: Caller
) -> None:
    order = {"GET": 0, "POST": 1, "PUT": 2, "PATCH": 3, "DELETE": 4}
    found = []
    for operation in sorted(known, key=lambda operation: order[operation.method]):
        if operation.name != "get_null":  # nulls are nobody's own: tests/integration/api/test_scans.py
            found += sweep.with_own_things(caller, operation, street.own)
    assert found == []


def test_answers_outside_the_document_have_the_same_headers(street: Street) -> None:
    url = street.service.url
    asked = [("GET", "/v1/openapi.json"), ("GET", "/nothing"), ("PATCH", "/v1/jobs"), ("OPTIONS", "/v1/jobs")]
    for method, path in asked:
        answer = httpx.request(method, url + path)
        assert header_faults(answer) == [], f"{method} {path}"
        assert street.victim.mark not in answer.text


def test_a_foreign_idempotency_key_replays_nothing(street: Street) -> None:
    """The very request of the victim's, with its key: the stranger gets what strangers get without it."""
    victim, stranger = street.victim, street.stranger.tenant.http
    rows = rows_of(street.service, victim.tenant.project_id)
    replayed = victim.tenant.http.post(
        "/v1/jobs", json=victim.order, headers={"Idempotency-Key": victim.idempotency_key}
    )
    assert replayed.json()["id"] == victim.first("job"), "the key is really in use"
    for key in (victim.idempotency_key, "never-used-before"):
        answer = stranger.post("/v1/jobs", json=victim.order, headers={"Idempotency-Key": key})
        assert (answer.status_code, answer.json()["code"]) == (404, "checkpoint_not_found")
    body = {"filename": "mine.pt", "size_bytes": 3}
    answer = stranger.post("/v1/uploads", json=body, headers={"Idempotency-Key": victim.idempotency_key})
    assert answer.status_code == 201
    assert "idempotency-replayed" not in answer.headers
    stranger.post(f"/v1/uploads/{answer.json()['id']}/cancel")
    after = rows_of(street.service, victim.tenant.project_id)
    assert differences(rows, after, allowed=is_the_use_of_a_key_or_a_noted_refusal) == []


def test_foreign_objects_by_reference_are_refused_whether_they_exist_or_not(street: Street) -> None:
    bucket = street.service.store.bucket
    keys = [line.split()[0] for line in bucket_of(street.service)]
    theirs = [key for key in keys if f"/{street.victim.tenant.project_id}/" in key]
    assert theirs
    for key in theirs:
        reported = set()
        for reference in (f"s3://{bucket}/{key}", f"s3://{bucket}/{sweep.absent_twin(key)}"):
            for form in (reference, reference.rpartition("/")[0] + "/", reference + "/"):
                body = {"kind": "pairs", "uri": form}
                answer = street.stranger.tenant.http.post("/v1/datasets", json=body)
                assert answer.status_code == 422, form
                reported.add((answer.json()["code"], answer.json()["detail"]))
                checked = street.stranger.tenant.http.post("/v1/datasets/check", json={"uri": form})
                assert checked.status_code == 422, form
                reported.add((checked.json()["code"], checked.json()["detail"]))
        assert {code for code, _ in reported} <= {"dataset_uri_not_allowed", "dataset_uri_invalid"}, reported
