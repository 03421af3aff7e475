"""The trail: every operation that changes something leaves its line, in the same transaction.

The operations come from the published document: a new one that no call here exercises fails the test.
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from app.db.repositories.trail import TrailRepository
from app.domain.states import DatasetKind, JobState
from app.services.api_keys import read_key
from tests.integration.api.service import Service, refused

FILE = b"abc"


@dataclass(frozen=True, kw_only=True)
class Call:
    """A request that succeeds, and the actions whose lines it must leave."""

    method: str
    path: str
    actions: tuple[str, ...]
    json: Any = None
    content: bytes | None = None
    target_id: str | None = None
    """Where neither the path nor the answer names it."""


def an_upload(service: Service, *, is_sent: bool = False) -> str:
    body = {"filename": "x.tar", "size_bytes": len(FILE), "purpose": "dataset"}
    found = service.ours.http.post("/v1/uploads", json=body).json()
    if is_sent:
        httpx.put(found["parts"][0]["url"], content=FILE).raise_for_status()
    return str(found["id"])


def a_job(service: Service) -> str:
    return str(service.ours.http.post("/v1/jobs", json=service.sanitize_order()).json()["id"])


def a_key(service: Service) -> str:
    body = {"name": "noted", "scopes": ["read"]}
    return str(service.ours.http.post("/v1/keys", json=body).json()["id"])


def a_webhook(service: Service) -> str:
    body = {"url": "https://example.org/hooks"}
    return str(service.ours.http.post("/v1/webhooks", json=body).json()["links"]["self"])


def replay(service: Service) -> Call:
    place = a_webhook(service)
    delivery = service.ours.http.post(f"{place}/test").json()["id"]
    return Call(method="POST", path=f"{place}/deliveries/{delivery}/replay", actions=("webhook.replay",))


def delete_policy(service: Service) -> Call:
    policy = service.ours.http.put("/v1/policies/doomed", json={}).json()["id"]
    return Call(
        method="DELETE", path="/v1/policies/doomed", actions=("policy.delete",), target_id=str(policy)
    )


def resume(service: Service) -> Call:
    job = a_job(service)
    service.ours.http.post(f"/v1/jobs/{job}/pause")
    return Call(method="POST", path=f"/v1/jobs/{job}/resume", actions=("job.resume",))


def delete_job(service: Service) -> Call:
    job = a_job(service)
    service.ours.http.post(f"/v1/jobs/{job}/cancel")
    return Call(method="DELETE", path=f"/v1/jobs/{job}", actions=("job.delete",))


def retry(service: Service) -> Call:
    job = a_job(service)
    service.set_job(job, JobState.FAILED)
    return Call(method="POST", path=f"/v1/jobs/{job}/retry", actions=("job.retry",))


def create_dataset(service: Service) -> Call:
    service.store.put_bytes("allowed/audit/a.tar", b"x")
    body = {"kind": "pairs", "uri": f"s3://{service.store.bucket}/allowed/audit/"}
    return Call(method="POST", path="/v1/datasets", json=body, actions=("dataset.create",))


CALLS: dict[str, Callable[[Service], Call]] = {
    "create_upload": lambda _: Call(
        method="POST",
        path="/v1/uploads",
        json={"filename": "x", "size_bytes": 1},
        actions=("upload.create",),
    ),
    "presign_upload_parts": lambda service: Call(
        method="POST",
        path=f"/v1/uploads/{an_upload(service)}/parts",
        json={"numbers": [1]},
        actions=("upload.parts",),
    ),
    "put_upload_content": lambda service: Call(
        method="PUT",
        path=f"/v1/uploads/{an_upload(service)}/content",
        content=FILE,
        actions=("upload.content",),
    ),
    "complete_upload": lambda service: Call(
        method="POST",
        path=f"/v1/uploads/{an_upload(service, is_sent=True)}/complete",
        actions=("upload.complete",),
    ),
    "cancel_upload": lambda service: Call(
        method="POST", path=f"/v1/uploads/{an_upload(service)}/cancel", actions=("upload.cancel",)
    ),
    "create_checkpoint": lambda _: Call(
        method="POST",
        path="/v1/checkpoints",
        json={"source": "hf://openai/clip"},
        actions=("checkpoint.create",),
    ),
    "delete_checkpoint": lambda service: Call(
        method="DELETE", path=f"/v1/checkpoints/{service.checkpoint()}", actions=("checkpoint.delete",)
    ),
    "create_dataset": create_dataset,
    "delete_dataset": lambda service: Call(
        method="DELETE",
        path=f"/v1/datasets/{service.dataset(DatasetKind.PAIRS)}",
        actions=("dataset.delete",),
    ),
    "rename_dataset": lambda service: Call(
        method="PATCH",
        path=f"/v1/datasets/{service.dataset(DatasetKind.PAIRS)}",
        json={"name": "clean pairs"},
        actions=("dataset.rename",),
    ),
    "rename_job": lambda service: Call(
        method="PATCH", path=f"/v1/jobs/{a_job(service)}", json={"name": "n"}, actions=("job.rename",)
    ),
    "rename_key": lambda service: Call(
        method="PATCH", path=f"/v1/keys/{a_key(service)}", json={"name": "n"}, actions=("key.rename",)
    ),
    "delete_upload": lambda service: Call(
        method="DELETE", path=f"/v1/uploads/{an_upload(service)}", actions=("upload.delete",)
    ),
    "delete_job": delete_job,
    "create_job": lambda service: Call(
        method="POST", path="/v1/jobs", json=service.sanitize_order(), actions=("job.create",)
    ),
    "cancel_job": lambda service: Call(
        method="POST", path=f"/v1/jobs/{a_job(service)}/cancel", actions=("job.cancel",)
    ),
    "pause_job": lambda service: Call(
        method="POST", path=f"/v1/jobs/{a_job(service)}/pause", actions=("job.pause",)
    ),
    "resume_job": resume,
    "retry_job": retry,
    "create_key": lambda _: Call(
        method="POST", path="/v1/keys", json={"name": "n", "scopes": ["run"]}, actions=("key.create",)
    ),
    "rotate_key": lambda service: Call(
        method="POST", path=f"/v1/keys/{a_key(service)}/rotate", actions=("key.create", "key.rotate")
    ),
    "create_webhook": lambda _: Call(
        method="POST",
        path="/v1/webhooks",
        json={"url": "https://example.org/hooks"},
        actions=("webhook.create",),
    ),
    "update_webhook": lambda service: Call(
        method="PATCH", path=a_webhook(service), json={"events": ["job.failed"]}, actions=("webhook.update",)
    ),
    "rotate_webhook_secret": lambda service: Call(
        method="POST", path=f"{a_webhook(service)}/rotate-secret", actions=("webhook.rotate_secret",)
    ),
    "delete_webhook": lambda service: Call(
        method="DELETE", path=a_webhook(service), actions=("webhook.delete",)
    ),
    "test_webhook": lambda service: Call(
        method="POST", path=f"{a_webhook(service)}/test", actions=("webhook.test",)
    ),
    "replay_webhook_delivery": replay,
    "put_policy": lambda _: Call(
        method="PUT", path="/v1/policies/kept", json={"asr_at_most": 0.1}, actions=("policy.put",)
    ),
    "delete_policy": delete_policy,
    "revoke_key": lambda service: Call(
        method="POST", path=f"/v1/keys/{a_key(service)}/revoke", actions=("key.revoke",)
    ),
}
"""operationId → a call that succeeds. A new operation belongs here."""


def changing_operations(service: Service) -> set[str]:
    """operationId of every operation of the document that is not a GET, but for two that change nothing."""
    paths = httpx.get(f"{service.url}/v1/openapi.json", timeout=60).json()["paths"]
    return {
        operation["operationId"]
        for operations in paths.values()
        for method, operation in operations.items()
        if method not in {"get", "head", "options"}
    } - {"dry_run_job", "check_dataset"}


def rows_of(service: Service, request_id: str) -> list[Any]:
    with service.engine.connect() as connection:
        query = text("SELECT * FROM trail_entries WHERE request_id = :id ORDER BY action")
        return list(connection.execute(query, {"id": request_id}))


def sent(service: Service, call: Call, request_id: str) -> httpx.Response:
    return service.ours.http.request(
        call.method,
        call.path,
        json=call.json,
        content=call.content,
        headers={"X-Request-ID": request_id},
    )


def test_every_operation_that_changes_something_is_exercised_here(service: Service) -> None:
    assert changing_operations(service) == set(CALLS)


@pytest.mark.parametrize("operation", CALLS)
def test_a_change_leaves_who_what_when_and_from_where(service: Service, operation: str) -> None:
    call = CALLS[operation](service)
    request_id = f"trail-{uuid.uuid4()}"
    answer = sent(service, call, request_id)
    assert answer.status_code < 300, answer.text
    rows = rows_of(service, request_id)
    assert [row.action for row in rows] == sorted(call.actions)
    for row in rows:
        assert row.key_id == read_key(service.ours.key).key_id
        assert row.project_id == service.ours.project_id
        assert (row.remote_addr, row.outcome, row.reason, row.actor) == ("127.0.0.1", "done", None, None)
        assert row.created_at is not None
        assert row.target_id == call.target_id or row.target_id in call.path + answer.text


def test_a_change_whose_line_cannot_be_written_does_not_happen(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("no line")

    calls = [CALLS[name](service) for name in ("create_job", "create_key", "delete_dataset", "cancel_upload")]
    monkeypatch.setattr(TrailRepository, "add", broken)
    with service.nothing_left_behind():
        for call in calls:
            assert sent(service, call, f"broken-{uuid.uuid4()}").status_code == 500


def test_the_trail_is_read_by_administrators_and_shows_their_own_project(
    service: Service, api: httpx.Client, others: httpx.Client
) -> None:
    request_id = f"trail-{uuid.uuid4()}"
    job = sent(service, CALLS["create_job"](service), request_id).json()["id"]
    [row] = api.get(f"/v1/trail?target_id={job}&action=job.create").json()["data"]
    assert row == {
        "object": "trail_entry",
        "id": row["id"],
        "created_at": row["created_at"],
        "action": "job.create",
        "target_id": job,
        "outcome": "done",
        "reason": None,
        "key_id": read_key(service.ours.key).key_id,
        "key_name": row["key_name"],
        "actor": None,
        "request_id": request_id,
        "remote_addr": "127.0.0.1",
    }
    assert job not in others.get("/v1/trail?limit=100").text
    assert others.get(f"/v1/trail?target_id={job}").json()["data"] == []
    first = api.get("/v1/trail?limit=2").json()
    second = api.get(f"/v1/trail?limit=2&after={first['last_id']}").json()
    ids = [row["id"] for row in first["data"] + second["data"]]
    assert ids == sorted(ids, reverse=True)
    assert len(set(ids)) == 4


@pytest.mark.parametrize("query", ["action=DROP", "target_id=x", "limit=0", "after=x"])
def test_a_filter_that_makes_no_sense_is_refused(api: httpx.Client, query: str) -> None:
    refused(api.get(f"/v1/trail?{query}"), 422, "invalid_request")
