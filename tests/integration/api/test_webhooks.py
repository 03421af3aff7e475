"""Webhooks over HTTP: made, changed, rotated, tested, replayed, deleted; by whom, and within what bounds."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from app.db.sealing import Sealer
from app.main import create_app
from app.services import api_keys
from app.settings import Settings
from tests.fakes.job_publisher import FakeJobPublisher
from tests.fixtures.webhooks import WEBHOOKS_KEY
from tests.integration.api.service import Service, refused, running

URL = "https://example.org/hooks?token=canary"
EVENTS = [
    *("checkpoint.accepted", "checkpoint.rejected", "dataset.ready", "dataset.rejected"),
    *("job.cancelled", "job.failed", "job.succeeded"),
]
SEALER = Sealer([WEBHOOKS_KEY])


@pytest.fixture
def api(service: Service) -> Iterator[httpx.Client]:
    yield service.ours.http
    for tenant in (service.ours, service.theirs):
        for found in tenant.http.get("/v1/webhooks").json()["data"]:
            tenant.http.delete(found["links"]["self"])


def made(api: httpx.Client, **values: Any) -> dict[str, Any]:
    answer = api.post("/v1/webhooks", json={"url": URL} | values)
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    assert answer.headers["location"] == body["links"]["self"]
    return body


def sealed(service: Service, webhook_id: str) -> tuple[str, str | None]:
    """What the row keeps, opened: the secret and the one before it."""
    with service.database.unit_of_work() as unit:
        row = unit.webhooks.get(service.ours.project_id, webhook_id)
    previous = row.sealed_previous_secret
    return SEALER.unseal(row.sealed_secret), None if previous is None else SEALER.unseal(previous)


def entries(api: httpx.Client, action: str) -> list[str | None]:
    return [entry["target_id"] for entry in api.get("/v1/trail", params={"action": action}).json()["data"]]


def test_a_secret_is_shown_once_and_kept_sealed(service: Service, api: httpx.Client) -> None:
    webhook = made(api)
    secret = webhook.pop("secret")
    assert secret.startswith("whsec_")
    assert api.get(webhook["links"]["self"]).json() == webhook
    assert api.get("/v1/webhooks").json()["data"] == [webhook]
    assert (webhook["url"], webhook["events"], webhook["state"]) == (URL, EVENTS, "enabled")
    assert sealed(service, webhook["id"]) == (secret, None)
    with service.engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT row_to_json(w)::text FROM webhooks w").scalars().all()
    assert secret not in "".join(rows)
    assert entries(api, "webhook.create")[0] == webhook["id"]


def test_a_repeated_request_makes_one_webhook_and_does_not_tell_its_secret_again(
    service: Service, api: httpx.Client
) -> None:
    headers = {"Idempotency-Key": "one-webhook"}
    first, again = (api.post("/v1/webhooks", json={"url": URL}, headers=headers) for _ in range(2))
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json() == first.json() | {"secret": None}
    assert first.json()["secret"] not in again.text
    assert len(api.get("/v1/webhooks").json()["data"]) == 1
    place = first.json()["links"]["self"]
    headers = {"Idempotency-Key": "one-rotation"}
    first, again = (api.post(f"{place}/rotate-secret", headers=headers) for _ in range(2))
    assert (first.status_code, again.json()["secret"]) == (201, None)
    assert sealed(service, first.json()["id"])[0] == first.json()["secret"]
    api.delete(place)
    anew = api.post("/v1/webhooks", json={"url": URL}, headers={"Idempotency-Key": "one-webhook"})
    assert anew.json()["id"] != first.json()["id"], "what was deleted is not shown by a kept answer"


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://example.org/", "webhook_url_invalid"),
        ("https://user:pass@example.org/", "webhook_url_invalid"),
        ("https://127.1/", "webhook_url_invalid"),
        ("https://169.254.169.254/latest/meta-data/", "webhook_url_not_allowed"),
        ("https://[::ffff:10.0.0.1]/", "webhook_url_not_allowed"),
        ("https://localhost/", "webhook_url_not_allowed"),
        ("https://example.org:22/", "webhook_url_not_allowed"),
    ],
)
def test_an_address_that_is_not_public_https_is_refused_when_made_and_when_changed(
    service: Service, api: httpx.Client, url: str, code: str
) -> None:
    webhook = made(api)
    with service.nothing_left_behind():
        for answer in (
            api.post("/v1/webhooks", json={"url": url}),
            api.patch(webhook["links"]["self"], json={"url": url}),
        ):
            refused(answer, 422, code, "/url")
            assert url not in answer.text


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/url"),
        ({"url": ""}, "/url"),
        ({"url": 7}, "/url"),
        ({"url": URL, "events": []}, "/events"),
        ({"url": URL, "events": ["job.exploded"]}, "/events/0"),
        ({"url": URL, "events": ["webhook.test"]}, "/events/0"),
        ({"url": URL, "secret": "whsec_mine"}, "/secret"),
        ({"url": "https://example.org/\0"}, "/url"),
    ],
)
def test_a_body_that_cannot_be_meant_is_refused(
    service: Service, api: httpx.Client, body: dict[str, Any], pointer: str
) -> None:
    with service.nothing_left_behind():
        refused(api.post("/v1/webhooks", json=body), 422, "invalid_request", pointer)


def test_a_change_changes_what_it_names(service: Service, api: httpx.Client) -> None:
    webhook = made(api, events=["job.failed", "job.failed"])
    place = webhook["links"]["self"]
    assert webhook["events"] == ["job.failed"]
    moved = api.patch(place, json={"url": "https://example.org/new"}).json()
    assert (moved["url"], moved["events"]) == ("https://example.org/new", ["job.failed"])
    assert moved["updated_at"] > webhook["updated_at"]
    widened = api.patch(place, json={"events": ["job.succeeded", "dataset.ready"]}).json()
    assert widened["events"] == ["dataset.ready", "job.succeeded"]
    disabled = api.patch(place, json={"enabled": False}).json()
    assert (disabled["state"], disabled["disabled_reason"]) == ("disabled", "requested")
    service.execute("UPDATE webhooks SET failing_since = now(), disabled_reason = 'failing'")
    assert api.patch(place, json={"enabled": False}).json()["disabled_reason"] == "failing", "already"
    enabled = api.patch(place, json={"enabled": True, "url": None}).json()
    assert (enabled["state"], enabled["disabled_reason"], enabled["failing_since"]) == ("enabled", None, None)
    refused(api.patch(place, json={"enabled": "yes"}), 422, "invalid_request", "/enabled")
    assert entries(api, "webhook.update").count(webhook["id"]) == 5


def test_a_secret_is_rotated_with_two_that_sign_at_most(service: Service, api: httpx.Client) -> None:
    webhook = made(api)
    rotate = f"{webhook['links']['self']}/rotate-secret"
    second = api.post(rotate, json={"overlap_s": 3600}).json()
    assert second["secret"] != webhook["secret"]
    assert second["previous_secret_ends_at"] is not None
    assert sealed(service, webhook["id"]) == (second["secret"], webhook["secret"])
    with service.nothing_left_behind():
        refused(api.post(rotate), 409, "webhook_already_rotated")
    third = api.post(rotate, json={"overlap_s": 0}).json()
    assert third["previous_secret_ends_at"] is None
    assert sealed(service, webhook["id"]) == (third["secret"], None)
    fourth = api.post(rotate, json={"overlap_s": 60}).json()
    service.execute("UPDATE webhooks SET previous_ends_at = now()")
    fifth = api.post(rotate).json()
    assert sealed(service, webhook["id"]) == (fifth["secret"], fourth["secret"])
    assert entries(api, "webhook.rotate_secret").count(webhook["id"]) == 4


def test_a_test_is_queued_shown_and_replayed(service: Service, api: httpx.Client) -> None:
    webhook = made(api, events=["job.failed"])
    place = webhook["links"]["self"]
    answer = api.post(f"{place}/test")
    assert answer.status_code == 202
    queued = answer.json()
    assert (queued["event"], queued["state"], queued["num_tries"]) == ("webhook.test", "pending", 0)
    assert queued["data"] == {"object": "webhook", "id": webhook["id"], "links": {"self": place}}
    assert queued["message_id"].startswith("msg_")
    assert queued["last_try"] is None
    assert api.get(answer.headers["location"]).json() == queued
    service.execute(
        "UPDATE webhook_deliveries SET state = 'failed', num_tries = 10, attempt = 10, tried_at = now(),"
        " status = 500, error = 'refused', excerpt = 'no', took_ms = 7"
    )
    (failed,) = api.get(f"{place}/deliveries", params={"state": "failed"}).json()["data"]
    assert (failed["state"], failed["next_try_at"]) == ("failed", None)
    last_try = {"status": 500, "error": "refused", "excerpt": "no", "took_ms": 7}
    assert failed["last_try"].items() >= last_try.items()
    assert api.get(f"{place}/deliveries", params={"state": "pending"}).json()["data"] == []
    replayed = api.post(f"{queued['links']['self']}/replay")
    assert replayed.status_code == 202
    assert (replayed.json()["state"], replayed.json()["num_tries"]) == ("pending", 0)
    assert replayed.json()["message_id"] == queued["message_id"]
    assert entries(api, "webhook.test")[0] == webhook["id"]
    assert entries(api, "webhook.replay")[0] == queued["id"]


def test_deliveries_come_in_pages_newest_first(api: httpx.Client) -> None:
    webhook = made(api)
    place = webhook["links"]["self"]
    queued = [api.post(f"{place}/test").json()["id"] for _ in range(5)]
    first = api.get(f"{place}/deliveries", params={"limit": 2}).json()
    second = api.get(f"{place}/deliveries", params={"limit": 3, "after": first["last_id"]}).json()
    assert [row["id"] for row in first["data"] + second["data"]] == queued[::-1]
    assert (first["has_more"], second["has_more"]) == (True, False)


def test_nothing_is_sent_to_a_disabled_webhook_not_even_a_test(service: Service, api: httpx.Client) -> None:
    webhook = made(api)
    place = webhook["links"]["self"]
    queued = api.post(f"{place}/test").json()
    api.patch(place, json={"enabled": False})
    with service.nothing_left_behind():
        refused(api.post(f"{place}/test"), 409, "webhook_state_conflict")
        refused(api.post(f"{queued['links']['self']}/replay"), 409, "webhook_state_conflict")


def test_what_a_request_ends_is_told_in_its_transaction(service: Service, api: httpx.Client) -> None:
    webhook, other = made(api), made(api, events=["job.failed"])
    theirs = made(service.theirs.http)
    job = api.post("/v1/jobs", json=service.sanitize_order()).json()
    assert api.post(f"/v1/jobs/{job['id']}/cancel").status_code == 202
    (reported,) = api.get(webhook["links"]["deliveries"]).json()["data"]
    assert reported["event"] == "job.cancelled"
    assert reported["data"] == {
        "object": "job",
        "id": job["id"],
        "kind": "sanitize",
        "state": "cancelled",
        "links": {"self": job["links"]["self"]},
    }
    assert api.get(other["links"]["deliveries"]).json()["data"] == []
    assert service.theirs.http.get(theirs["links"]["deliveries"]).json()["data"] == []


def test_a_deleted_webhook_is_gone_with_its_deliveries(service: Service, api: httpx.Client) -> None:
    kept, webhook = made(api), made(api)
    place = webhook["links"]["self"]
    queued = api.post(f"{place}/test").json()
    assert api.delete(place).status_code == 204
    refused(api.get(place), 404, "webhook_not_found")
    refused(api.delete(place), 404, "webhook_not_found")
    refused(api.get(f"{place}/deliveries"), 404, "webhook_not_found")
    refused(api.get(queued["links"]["self"]), 404, "webhook_delivery_not_found")
    with service.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM webhook_deliveries").scalar() == 0
    assert [row["id"] for row in api.get("/v1/webhooks").json()["data"]] == [kept["id"]]
    assert entries(api, "webhook.delete")[0] == webhook["id"]


def test_a_delivery_of_another_webhook_is_not_found(api: httpx.Client) -> None:
    one, other = made(api), made(api)
    queued = api.post(f"{one['links']['self']}/test").json()
    wrong = f"{other['links']['self']}/deliveries/{queued['id']}"
    refused(api.get(wrong), 404, "webhook_delivery_not_found")
    refused(api.post(f"{wrong}/replay"), 404, "webhook_delivery_not_found")


def test_a_project_has_so_many_webhooks_and_no_more(service: Service, api: httpx.Client) -> None:
    most = service.ports.settings.webhooks.max_per_project
    for _ in range(most):
        last = made(api)
    with service.nothing_left_behind():
        refused(api.post("/v1/webhooks", json={"url": URL}), 409, "too_many_webhooks")
    made(service.theirs.http)
    api.delete(last["links"]["self"])
    made(api)


def test_only_a_key_with_scope_admin_sees_or_makes_webhooks(service: Service, api: httpx.Client) -> None:
    place = made(api)["links"]["self"]
    with service.database.unit_of_work() as unit:
        _, key = api_keys.issue(
            unit, project_id=service.ours.project_id, name="lesser", scopes=["read", "upload", "run"]
        )
    headers = {"Authorization": f"Bearer {key}"}
    for method, path in (("GET", place), ("POST", "/v1/webhooks"), ("DELETE", place)):
        answer = httpx.request(method, service.url + path, headers=headers, json={"url": URL})
        refused(answer, 403, "scope_missing")


def test_an_installation_without_a_key_makes_no_webhook(service_settings: Settings, service: Service) -> None:
    off = service_settings.webhooks.model_copy(update={"encryption_keys": ()})
    app = create_app(service_settings.model_copy(update={"webhooks": off}), publisher=FakeJobPublisher())
    with running(app) as url:
        headers = {"Authorization": f"Bearer {service.ours.key}"}
        answer = httpx.post(f"{url}/v1/webhooks", json={"url": URL}, headers=headers)
        assert "CLEANCLIP_WEBHOOKS__ENCRYPTION_KEYS" in refused(answer, 409, "webhooks_off")["remedy"]


def test_neither_secret_nor_address_is_logged(service: Service, api: httpx.Client, service_log: Any) -> None:
    webhook = made(api)
    api.patch(webhook["links"]["self"], json={"url": URL + "2"})
    api.post("/v1/webhooks", json={"url": "http://example.org/?token=canary"})
    said = service_log.getvalue()
    assert webhook["secret"] not in said
    assert "token=canary" not in said
