"""Keys over HTTP: made, listed, rotated, revoked, expired; who may, and that a key is shown once."""

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import httpx
import pytest

from app.services.api_keys import read_key
from tests.integration.api.service import Service, Tenant, refused, tenant


@pytest.fixture
def lab(service: Service) -> Iterator[Tenant]:
    """A project of this test's own, with one key that may do everything."""
    found = tenant(service.database, service.url, f"lab {uuid.uuid4()}")
    yield found
    found.http.close()


def made(lab: Tenant, **changes: Any) -> dict[str, Any]:
    answer = lab.http.post("/v1/keys", json={"name": "nightly", "scopes": ["read"]} | changes)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def status_with(service: Service, key: str, path: str = "/v1/jobs") -> int:
    return httpx.get(service.url + path, headers={"Authorization": f"Bearer {key}"}).status_code


def first_key(lab: Tenant) -> str:
    """The id of the key that the tenant's client sends."""
    return read_key(lab.key).key_id


def trail(lab: Tenant, **query: Any) -> list[tuple[str, str | None, str, str | None]]:
    rows = lab.http.get("/v1/trail", params={"limit": 100, **query}).json()["data"]
    return [(row["action"], row["target_id"], row["outcome"], row["reason"]) for row in rows]


# ---------------------------------------------------------------- made and shown once


def test_a_new_key_works_within_its_scopes_and_is_shown_this_once(service: Service, lab: Tenant) -> None:
    key = made(lab, scopes=["read", "run"])
    assert status_with(service, key["key"]) == 200
    assert status_with(service, key["key"], "/v1/keys") == 403
    assert key["key"].startswith(key["prefix"])
    assert (key["state"], key["expires_at"], key["lineage_id"]) == ("active", None, key["id"])
    read = lab.http.get(key["links"]["self"])
    assert read.json() == {name: value for name, value in key.items() if name != "key"} | {
        "last_used_at": read.json()["last_used_at"]
    }
    assert read.json()["last_used_at"] is not None
    listed = lab.http.get("/v1/keys").json()["data"]
    assert [row["id"] for row in listed] == [key["id"], first_key(lab)]
    for text in (read.text, lab.http.get("/v1/keys").text, lab.http.get("/v1/trail").text):
        assert key["key"][-38:] not in text


def test_a_repeated_request_makes_no_second_key_and_shows_the_first_no_more(
    service: Service, lab: Tenant
) -> None:
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    body = {"name": "once", "scopes": ["read"]}
    first = lab.http.post("/v1/keys", json=body, headers=headers)
    again = lab.http.post("/v1/keys", json=body, headers=headers)
    assert (again.status_code, again.headers["idempotency-replayed"]) == (201, "true")
    assert again.json() == first.json() | {"key": None}
    rotated = [lab.http.post(f"/v1/keys/{first.json()['id']}/rotate", headers=headers_of(2)) for _ in "ab"]
    assert rotated[0].status_code == rotated[1].status_code == 201
    assert rotated[0].json()["key"] is not None
    assert rotated[1].json() == rotated[0].json() | {"key": None}


def headers_of(number: int) -> dict[str, str]:
    return {"Idempotency-Key": f"the-same-{number}"}


def test_the_text_of_a_key_is_nowhere_in_the_database(service: Service, lab: Tenant) -> None:
    key = made_with_idempotency_key(lab)["key"]
    with service.engine.connect() as connection:
        for table in ("api_keys", "idempotency_keys", "trail_entries"):
            query = f"SELECT count(*) FROM {table} t WHERE t::text LIKE '%{key[-38:]}%'"
            assert connection.exec_driver_sql(query.replace("%", "%%")).scalar() == 0, table
        digest = read_key(key).secret_sha256
        query = f"SELECT count(*) FROM api_keys t WHERE t::text LIKE '%%{digest}%%'"
        assert connection.exec_driver_sql(query).scalar() == 1, "the search finds what is there"


def made_with_idempotency_key(lab: Tenant) -> dict[str, Any]:
    body = {"name": "kept", "scopes": ["read"]}
    found: dict[str, Any] = lab.http.post("/v1/keys", json=body, headers=headers_of(1)).json()
    return found


@pytest.mark.parametrize(
    ("changes", "code", "pointer"),
    [
        ({"scopes": []}, "invalid_request", "/scopes"),
        ({"scopes": ["everything"]}, "invalid_request", "/scopes/0"),
        ({"name": "two\nlines"}, "invalid_request", "/name"),
        ({"name": "right\u202eto left"}, "invalid_request", "/name"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "key_expiry_invalid", "/expires_at"),
        ({"expires_at": "9999-12-31T23:59:59-23:59"}, "key_expiry_invalid", "/expires_at"),
        ({"expires_at": "2020-01-01T00:00:00"}, "invalid_request", "/expires_at"),
        ({"expires_in_s": 5}, "invalid_request", "/expires_in_s"),
        ({"expires_in_s": 60, "expires_at": "2030-01-01T00:00:00Z"}, "invalid_request", "/expires_in_s"),
        ({"expires_in_s": True}, "invalid_request", "/expires_in_s"),
        ({"expires_in_s": "3600"}, "invalid_request", "/expires_in_s"),
        ({"expires_at": 1893456000}, "invalid_request", "/expires_at"),
        ({"expires_at": "1893456000"}, "invalid_request", "/expires_at"),
        ({"key": "cclip_live_mine"}, "invalid_request", "/key"),
    ],
)
def test_what_cannot_be_a_key_is_refused(
    lab: Tenant, changes: dict[str, Any], code: str, pointer: str
) -> None:
    body = {"name": "n", "scopes": ["read"]} | changes
    refused(lab.http.post("/v1/keys", json=body), 422, code, pointer)
    assert len(lab.http.get("/v1/keys").json()["data"]) == 1


# ---------------------------------------------------------------- who may


@pytest.mark.parametrize("scopes", [["read"], ["upload"], ["run"], ["read", "upload", "run"]])
def test_a_key_without_scope_admin_manages_no_key_and_its_attempts_are_noted(
    service: Service, lab: Tenant, scopes: list[str]
) -> None:
    key = made(lab, scopes=scopes)
    headers = {"Authorization": f"Bearer {key['key']}"}
    mine = f"/v1/keys/{key['id']}"
    for method, path in (
        ("POST", "/v1/keys"),
        ("POST", f"{mine}/rotate"),
        ("POST", f"{mine}/revoke"),
        ("GET", "/v1/keys"),
        ("GET", mine),
        ("GET", "/v1/trail"),
    ):
        refused(httpx.request(method, service.url + path, headers=headers), 403, "scope_missing")
    assert trail(lab, key_id=key["id"]) == [
        ("key.revoke", key["id"], "refused", "scope_missing"),
        ("key.rotate", key["id"], "refused", "scope_missing"),
        ("key.create", None, "refused", "scope_missing"),
    ]


def test_attempts_in_a_loop_leave_one_line_each_minute(
    service: Service, lab: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = made(lab, scopes=["read"])
    headers = {"Authorization": f"Bearer {key['key']}"}

    def attempt(number: int) -> None:
        path = f"/v1/keys/{key['id']}/revoke" if number % 2 else "/v1/keys"
        refused(httpx.post(service.url + path, headers=headers), 403, "scope_missing")

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(attempt, range(24)))
    assert sorted(row[0] for row in trail(lab, key_id=key["id"])) == ["key.create", "key.revoke"]
    monkeypatch.setattr("app.services.trail.REFUSALS_NOTED_EVERY", timedelta(seconds=-1))
    attempt(0)
    assert sorted(row[0] for row in trail(lab, key_id=key["id"])) == [
        "key.create",
        "key.create",
        "key.revoke",
    ]


def test_foreign_keys_are_not_found(service: Service, lab: Tenant, api: httpx.Client) -> None:
    theirs = first_key(lab)
    refused(api.get(f"/v1/keys/{theirs}"), 404, "key_not_found")
    for action in ("rotate", "revoke"):
        refused(api.post(f"/v1/keys/{theirs}/{action}"), 404, "key_not_found")
    assert theirs not in api.get("/v1/keys?limit=100").text
    assert status_with(service, lab.key) == 200
    assert ("key.revoke", theirs, "refused", "key_not_found") not in trail(lab), "told to those who tried"


# ---------------------------------------------------------------- rotate


def test_a_rotated_key_and_its_successor_are_both_active_and_a_third_is_refused(
    service: Service, lab: Tenant
) -> None:
    old = made(lab, scopes=["read", "upload"])
    new = lab.http.post(f"/v1/keys/{old['id']}/rotate", json={"overlap_s": 600}).json()
    assert (new["name"], new["scopes"], new["lineage_id"]) == (old["name"], old["scopes"], old["id"])
    assert new["expires_at"] is None
    assert [status_with(service, key["key"]) for key in (old, new)] == [200, 200]
    assert lab.http.get(f"/v1/keys/{old['id']}").json()["expires_at"] is not None
    for key in (old, new):
        refused(lab.http.post(f"/v1/keys/{key['id']}/rotate"), 409, "key_already_rotated")
    assert lab.http.post(f"/v1/keys/{old['id']}/revoke").json()["state"] == "revoked"
    refused(lab.http.post(f"/v1/keys/{old['id']}/rotate"), 409, "key_not_active")
    assert lab.http.post(f"/v1/keys/{new['id']}/rotate").status_code == 201
    assert ("key.rotate", old["id"], "done", None) in trail(lab)
    assert ("key.create", new["id"], "done", None) in trail(lab)


@pytest.mark.parametrize("overlap", [True, "60", 1.5, -1])
def test_an_overlap_is_a_whole_number_of_seconds(lab: Tenant, overlap: Any) -> None:
    path = f"/v1/keys/{first_key(lab)}/rotate"
    refused(lab.http.post(path, json={"overlap_s": overlap}), 422, "invalid_request", "/overlap_s")
    assert len(lab.http.get("/v1/keys").json()["data"]) == 1


def test_without_overlap_the_old_key_ends_at_once(service: Service, lab: Tenant) -> None:
    old = made(lab)
    assert status_with(service, old["key"]) == 200
    new = lab.http.post(f"/v1/keys/{old['id']}/rotate", json={"overlap_s": 0}).json()
    assert [status_with(service, key["key"]) for key in (old, new)] == [401, 200]
    assert lab.http.get(f"/v1/keys/{old['id']}").json()["state"] == "expired"


def test_a_key_that_expires_is_followed_by_one_that_lives_as_long(lab: Tenant) -> None:
    old = made(lab, expires_in_s=3600)
    new = lab.http.post(f"/v1/keys/{old['id']}/rotate", json={"overlap_s": 86_400}).json()
    assert old["expires_at"] < new["expires_at"]
    assert lab.http.get(f"/v1/keys/{old['id']}").json()["expires_at"] == old["expires_at"], "not later"


def test_many_rotations_at_once_make_one_successor(lab: Tenant) -> None:
    old = made(lab)
    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(lambda _: lab.http.post(f"/v1/keys/{old['id']}/rotate"), range(6)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409, 409, 409]
    line = [row for row in lab.http.get("/v1/keys").json()["data"] if row["lineage_id"] == old["id"]]
    assert len(line) == 2


# ---------------------------------------------------------------- revoke, expire


def test_a_revoked_key_opens_nothing_from_then_on(service: Service, lab: Tenant) -> None:
    key = made(lab)
    assert status_with(service, key["key"]) == 200
    answers = [lab.http.post(f"/v1/keys/{key['id']}/revoke").json() for _ in range(2)]
    assert answers[0] == answers[1], "a second call changes nothing"
    assert status_with(service, key["key"]) == 401
    assert [row for row in trail(lab) if row[0] == "key.revoke"] == [("key.revoke", key["id"], "done", None)]


def test_the_last_key_with_scope_admin_is_not_revoked_by_a_request(service: Service, lab: Tenant) -> None:
    mine = first_key(lab)
    refused(lab.http.post(f"/v1/keys/{mine}/revoke"), 409, "last_admin_key")
    assert ("key.revoke", mine, "refused", "last_admin_key") in trail(lab)
    other = made(lab, scopes=["admin"])
    assert lab.http.post(f"/v1/keys/{mine}/revoke").status_code == 200
    headers = {"Authorization": f"Bearer {other['key']}"}
    answer = httpx.post(f"{service.url}/v1/keys/{other['id']}/revoke", headers=headers)
    refused(answer, 409, "last_admin_key")


def test_no_request_leaves_a_project_to_a_key_with_scope_admin_that_ends_earlier(lab: Tenant) -> None:
    mine = first_key(lab)  # for ever
    short = made(lab, scopes=["admin"], expires_in_s=60)
    refused(lab.http.post(f"/v1/keys/{mine}/revoke"), 409, "last_admin_key")
    soon = {"overlap_s": 0, "expires_in_s": 3600}
    refused(lab.http.post(f"/v1/keys/{mine}/rotate", json=soon), 409, "last_admin_key")
    longer = lab.http.post(f"/v1/keys/{short['id']}/rotate", json={"expires_in_s": 3600})
    assert longer.status_code == 201, "one that ends later, or that others outlast, is nobody's harm"
    assert lab.http.post(f"/v1/keys/{short['id']}/revoke").status_code == 200
    shorter = lab.http.post(f"/v1/keys/{longer.json()['id']}/rotate", json={"expires_in_s": 60})
    assert shorter.status_code == 201
    made(lab, scopes=["admin"])
    assert lab.http.post(f"/v1/keys/{mine}/rotate", json=soon).status_code == 201


def test_two_administrators_who_revoke_each_other_at_once_do_not_both_succeed(
    service: Service, lab: Tenant
) -> None:
    other = made(lab, scopes=["admin"])
    targets = [(lab.key, other["id"]), (other["key"], first_key(lab))]

    def revoke(pair: tuple[str, str]) -> int:
        headers = {"Authorization": f"Bearer {pair[0]}"}
        return httpx.post(f"{service.url}/v1/keys/{pair[1]}/revoke", headers=headers).status_code

    with ThreadPoolExecutor(2) as threads:
        statuses = sorted(threads.map(revoke, targets))
    assert statuses[0] == 200
    assert statuses[1] in {401, 409}, "revoked before it could, or refused as the last"


def test_an_expired_key_opens_nothing(service: Service, lab: Tenant) -> None:
    key = made(lab, expires_in_s=60)
    assert status_with(service, key["key"]) == 200
    service.execute("UPDATE api_keys SET expires_at = now() WHERE id = :id", id=key["id"])
    service.ports.keys.forget(key["id"])
    assert status_with(service, key["key"]) == 401
    assert lab.http.get(f"/v1/keys/{key['id']}").json()["state"] == "expired"


def test_pages_of_keys_meet_without_overlap(lab: Tenant) -> None:
    ids = [first_key(lab), *(made(lab)["id"] for _ in range(3))][::-1]
    first = lab.http.get("/v1/keys?limit=3").json()
    second = lab.http.get(f"/v1/keys?limit=3&after={first['last_id']}").json()
    assert [row["id"] for row in first["data"] + second["data"]] == ids
    assert (first["has_more"], second["has_more"]) == (True, False)
