"""The wire itself: problems for everything, limits on bodies, request ids, headers, the OpenAPI document."""

import asyncio
import base64
import hashlib
import io
import itertools
import json
import re
import socket
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from starlette.responses import StreamingResponse
from starlette.types import Message

from app.api.middleware import RequestMiddleware
from app.db.repositories.jobs import JobRepository
from app.domain.ids import new_id
from app.domain.states import DatasetKind
from app.live.metrics import Metrics
from app.main import create_app
from app.services import api_keys, sessions
from app.settings import Settings
from app.storage.s3 import S3Store
from tests.fakes.job_publisher import FakeJobPublisher
from tests.integration.api.service import Service, refused, running

CANARY = "canary-7c1f0b2e"


def test_an_address_that_does_not_exist_is_a_problem(api: httpx.Client) -> None:
    for path in ("/v1", "/v1/nothing", "/v1/jobs/", "/redoc", "/v1/uploads/a/b/c"):
        refused(api.get(path), 404, "route_not_found")


def paths_of_get(service: Service) -> list[str]:
    """Of every GET of the document, with ids of nothing, and of what is not in it."""
    paths = httpx.get(f"{service.url}/v1/openapi.json", timeout=60).json()["paths"]
    known = {"{job_id}": service.ours.http.post("/v1/jobs", json=service.sanitize_order()).json()["id"]}
    found = ["/", "/docs", "/v1/openapi.json", "/ui/sign-in", "/ui/jobs"]
    for path, operations in paths.items():
        if "get" in operations:
            found.append(re.sub(r"\{\w+\}", lambda one: known.get(one[0], "none"), path))
    return found


def test_head_is_answered_as_get_is_without_a_body(service: Service, api: httpx.Client) -> None:
    for path in paths_of_get(service):
        head = api.head(path, timeout=10)
        assert head.content == b""
        if path.endswith("/stream"):
            assert head.headers["content-type"].startswith("text/event-stream")
            continue
        got = api.get(path)
        assert head.status_code == got.status_code, path
        same = {"content-type", "etag", "location", "content-security-policy", "allow"}
        assert {name: head.headers.get(name) for name in same} == {
            name: got.headers.get(name) for name in same
        }, path
        if path not in ("/metrics", "/healthz", "/readyz") and got.is_success:
            assert head.headers.get("content-length") == got.headers.get("content-length"), path


def test_a_stream_that_is_asked_for_by_head_is_left_at_once(service: Service, api: httpx.Client) -> None:
    job_id = api.post("/v1/jobs", json=service.sanitize_order()).json()["id"]
    for _ in range(30):
        assert api.head(f"/v1/jobs/{job_id}/events/stream", timeout=10).status_code == 200
    deadline = time.monotonic() + 10
    while "cleanclip_event_streams 0.0" not in api.get("/metrics").text and time.monotonic() < deadline:
        time.sleep(0.05)
    assert "cleanclip_event_streams 0.0" in api.get("/metrics").text


def test_looking_at_a_sign_in_link_does_not_use_it_up(service: Service) -> None:
    presented = api_keys.read_key(service.ours.key)
    with service.database.unit_of_work() as unit:
        token = sessions.make_link(unit, service.ours.project_id, presented, lasts_s=60)
    link = f"{service.url}/ui/sign-in/once?token={token}"
    assert httpx.head(link).status_code == 405
    assert "cleanclip_session" in httpx.get(link).cookies


def test_the_document_is_a_page_for_people_that_asks_nobody_else(service: Service) -> None:
    answer = httpx.get(f"{service.url}/docs")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    [style] = re.findall(r"<style>(.*?)</style>", answer.text, re.S)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in policy, "the browser takes the sheet"
    assert not re.search(r"<(script|link|img|iframe)|https?://|style=", answer.text)
    document = httpx.get(f"{service.url}/v1/openapi.json", timeout=60).json()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert f'id="{operation["operationId"]}"' in answer.text
            assert f'<span class="method">{method.upper()}</span> <code>{path}</code>' in answer.text
    for name in document["components"]["schemas"]:
        assert f'id="{name}"' in answer.text
    assert set(re.findall('href="#([^"]+)"', answer.text)) <= set(re.findall('id="([^"]+)"', answer.text))


def test_the_first_address_leads_people_to_the_pages(api: httpx.Client) -> None:
    for path in ("/", "/ui"):
        answer = api.get(path)
        assert (answer.status_code, answer.headers["location"]) == (307, "/ui/")


def test_a_method_that_an_address_does_not_take_is_a_problem(api: httpx.Client) -> None:
    answer = api.delete("/v1/jobs")
    refused(answer, 405, "method_not_allowed")
    assert set(answer.headers["allow"].replace(" ", "").split(",")) <= {"GET", "HEAD", "POST"}


@pytest.mark.parametrize("body", [b"{", b"not json", b'{"a": }', b"\xff\xfe", b'{"a": "\xff"}'])
def test_a_body_that_is_not_json_is_refused(service: Service, api: httpx.Client, body: bytes) -> None:
    with service.nothing_left_behind():
        answer = api.post("/v1/jobs", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 400
        refused(answer, 400, answer.json()["code"])
        assert answer.json()["code"] in {"malformed_json", "bad_request"}


@pytest.mark.parametrize(
    "body",
    [
        b'{"ca_lost_at_most": 0.1, "ca_lost_at_most": 0.5}',
        b'{"asr_at_most": {"badnet": 0.05, "badnet": 0.5}}',
        b'{"unknown": [{"a": 1, "\\u0061": 1}]}',
    ],
)
def test_a_body_with_a_key_twice_is_refused(service: Service, api: httpx.Client, body: bytes) -> None:
    with service.nothing_left_behind():
        answer = api.put("/v1/policies/strict", content=body, headers={"Content-Type": "application/json"})
        refused(answer, 422, "repeated_key")
        assert "key twice" in answer.json()["detail"]


@pytest.mark.parametrize("body", [b"hello", b"[" * 40_000, b"\xff\xfe\xfa"])
def test_a_body_that_does_not_call_itself_json_is_refused(api: httpx.Client, body: bytes) -> None:
    answer = api.post("/v1/jobs", content=body, headers={"Content-Type": "text/plain"})
    refused(answer, 415, "unsupported_media_type")


def test_json_that_is_absurdly_deep_or_long_is_refused_quietly(api: httpx.Client) -> None:
    for body in (b"[" * 40_000, b'{"kind": ' + b"1" * 10_000 + b"}"):
        answer = api.post("/v1/jobs", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code in {400, 422}
        refused(answer, answer.status_code, answer.json()["code"])


@pytest.mark.parametrize("body", [b"[]", b"null", b'"text"', b"1", b"true"])
def test_json_that_is_no_object_is_refused(api: httpx.Client, body: bytes) -> None:
    answer = api.post("/v1/uploads", content=body, headers={"Content-Type": "application/json"})
    refused(answer, 422, "invalid_request", "")


def test_no_body_at_all_is_refused(api: httpx.Client) -> None:
    refused(api.post("/v1/jobs"), 422, "invalid_request", "")


@pytest.mark.parametrize("media_type", ["text/plain", "application/octet-stream", "multipart/form-data"])
def test_a_body_of_another_type_is_refused(api: httpx.Client, media_type: str) -> None:
    answer = api.post("/v1/jobs", content=b'{"kind": "audit"}', headers={"Content-Type": media_type})
    refused(answer, 415, "unsupported_media_type")


def big_json(num_bytes: int) -> bytes:
    return json.dumps({"kind": "audit", "padding": "x" * num_bytes}).encode()


def in_chunks(content: bytes) -> Iterator[bytes]:
    for start in range(0, len(content), 65536):
        yield content[start : start + 65536]


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_body_over_the_limit_is_refused(service: Service, api: httpx.Client, is_chunked: bool) -> None:
    body = big_json(service.ports.settings.api.max_body_bytes)
    with service.nothing_left_behind():
        answer = api.post(
            "/v1/jobs",
            content=in_chunks(body) if is_chunked else body,
            headers={"Content-Type": "application/json"},
        )
        refused(answer, 413, "body_too_large")


def test_a_body_just_under_the_limit_is_read(service: Service, api: httpx.Client) -> None:
    body = big_json(service.ports.settings.api.max_body_bytes - 100)
    answer = api.post("/v1/jobs", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422


def test_a_body_that_is_announced_too_large_is_refused_before_it_is_sent(service: Service) -> None:
    address = urlsplit(service.url)
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=10) as connection:
        connection.sendall(b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000000\r\n\r\n")
        assert connection.recv(200).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("separator", [b",", b"[],", b'{"":0},'])
def test_a_body_that_costs_too_much_to_parse_is_refused_unparsed(
    service: Service, api: httpx.Client, separator: bytes
) -> None:
    body = separator * 60_000
    with service.nothing_left_behind():
        answer = api.post("/v1/jobs", content=body, headers={"Content-Type": "application/json"})
        refused(answer, 413, "body_too_complex")


@pytest.mark.parametrize("key", [None, "nonsense", "unknown"])
def test_nothing_of_a_strangers_body_is_waited_for_or_read(service: Service, key: str | None) -> None:
    body = service.ours.key[:-16] + "a" * 10
    text = body + api_keys.checksum(body) if key == "unknown" else key
    sent = [
        b"POST /v1/jobs HTTP/1.1",
        b"Host: x",
        b"Content-Type: application/json",
        b"Content-Length: 900000",
    ]
    sent += [] if text is None else [f"Authorization: Bearer {text}".encode()]
    address = urlsplit(service.url)
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=10) as connection:
        connection.sendall(b"\r\n".join([*sent, b"", b""]))
        answer = connection.recv(4096)
    assert answer.startswith(b"HTTP/1.1 401")
    assert (b'"code":"key_missing"' if key is None else b'"code":"invalid_key"') in answer


def test_a_body_that_does_not_come_is_not_waited_for(
    service: Service, service_settings: Settings, object_store: S3Store
) -> None:
    api = service_settings.api.model_copy(update={"body_timeout_s": 0.3})
    app = create_app(
        service_settings.model_copy(update={"api": api}), store=object_store, publisher=FakeJobPublisher()
    )
    head = b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n"
    head += f"Authorization: Bearer {service.ours.key}\r\n\r\n".encode()
    with running(app) as url, socket.create_connection((urlsplit(url).hostname, urlsplit(url).port)) as slow:
        slow.settimeout(10)
        slow.sendall(head + b'{"a"')
        answer = b""
        while received := slow.recv(4000):  # to the end: the connection is closed
            answer += received
    assert answer.startswith(b"HTTP/1.1 408")
    assert b'"code":"body_too_slow"' in answer


def test_a_client_that_takes_nothing_of_its_answer_is_dropped(service_log: io.StringIO) -> None:
    report = StreamingResponse(itertools.repeat(b"more"))

    async def to_nobody(message: Message) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    async def nothing() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    metrics = Metrics(dict)
    asyncio.run(RequestMiddleware(report, metrics, send_timeout_s=0.05)(scope, nothing, to_nobody))
    assert b"requests_in_flight 0.0" in metrics.render()
    assert "slow_reader_dropped" in service_log.getvalue()


def test_a_request_id_is_kept_or_made(api: httpx.Client) -> None:
    kept = api.get("/v1/jobs", headers={"X-Request-ID": "mine-12345678"})
    assert kept.headers["x-request-id"] == "mine-12345678"
    as_ours = new_id("req")  # an id of this form is the service's own word, in the trail too
    for unusable in ("short", "with spaces in it", "x" * 200, as_ours):
        made = api.get("/v1/jobs", headers={"X-Request-ID": unusable}).headers["x-request-id"]
        assert made.startswith("req_")
        assert made != as_ours


def test_every_answer_has_safe_headers(service: Service, api: httpx.Client) -> None:
    for answer in (api.get("/v1/jobs"), api.get("/nothing"), httpx.get(f"{service.url}/healthz")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "cache-control" in answer.headers


def test_an_unexpected_failure_is_a_500_without_a_traceback_and_is_logged(
    service: Service, api: httpx.Client, service_log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError(CANARY)

    monkeypatch.setattr(JobRepository, "page", broken)
    answer = api.get("/v1/jobs", headers={"X-Request-ID": "broken-00000001"})
    problem = refused(answer, 500, "internal_error")
    assert problem["request_id"] == "broken-00000001"
    assert CANARY not in answer.text
    lines = [json.loads(line) for line in service_log.getvalue().splitlines() if "broken-00000001" in line]
    assert any(CANARY in line.get("exception", "") for line in lines), "an operator can see it"


def test_nothing_that_came_in_is_echoed_or_logged(
    service: Service, api: httpx.Client, service_log: io.StringIO
) -> None:
    answers = [
        api.post("/v1/jobs", json={"kind": CANARY}),
        api.post("/v1/jobs", json={"kind": "audit", "audit": {"attacks": [{"attack": CANARY}]}}),
        api.post("/v1/jobs", json={"kind": "audit", "seed": CANARY}),
        api.post("/v1/uploads", json={"filename": f"a/{CANARY}", "size_bytes": CANARY, "sha256": CANARY}),
        api.post("/v1/datasets", json={"kind": "pairs", "uri": f"file:///{CANARY}"}),
        api.get("/v1/jobs", params={"state": CANARY, "limit": CANARY}),
        api.get("/v1/jobs", headers={"Authorization": f"Bearer {CANARY}"}),
        httpx.get(f"{service.url}/v1/jobs?token={CANARY}"),
    ]
    for answer in answers:
        assert answer.status_code in {401, 422}
        assert CANARY not in answer.text
    lines = [line for line in service_log.getvalue().splitlines() if '"logger": "app.' in line]
    assert lines
    assert not [line for line in lines if CANARY in line and "RuntimeError" not in line]


def test_a_path_is_logged_as_its_route_and_ids_of_ours_and_never_as_it_came(
    service: Service, api: httpx.Client, service_log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError

    known, word = service.dataset(DatasetKind.PAIRS), f"{CANARY}-in-a-path"
    monkeypatch.setattr(JobRepository, "page", broken)
    before = len(service_log.getvalue())
    assert api.get(f"/v1/datasets/{known}").status_code == 200
    for text in (word, service.ours.key):
        for method, path in (
            ("GET", f"/v1/keys/{text}"),
            ("POST", f"/v1/keys/{text}/revoke"),
            ("PUT", f"/v1/uploads/{text}/content"),
            ("DELETE", f"/v1/keys/{text}"),
            ("GET", f"/{text}/healthz"),
            ("GET", f"/v1/jobs/{text}/events/stream?key={text}"),
        ):
            upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
            for headers in ({}, upgrade | {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}):
                assert api.request(method, path, headers=headers).status_code in {404, 405}
        kept = api.get("/v1/jobs", headers={"X-Request-ID": service.ours.key}).headers["x-request-id"]
        assert kept.startswith("req_")
    lines = service_log.getvalue()[before:].splitlines()
    ours = [line for line in lines if '"logger": "http' not in line]  # the test's own client
    logged = "\n".join([*ours, httpx.get(f"{service.url}/metrics").text])
    assert word not in logged
    assert service.ours.key[-20:] not in logged
    requests = [json.loads(line) for line in ours if '"event": "request"' in line]
    assert {"route": "/v1/datasets/{dataset_id}", "ids": [known]}.items() <= requests[0].items()
    assert {"/v1/keys/{key_id}/revoke", "unmatched"} <= {line["route"] for line in requests}
    assert [line["ids"] for line in requests[1:] if line["ids"]] == []
    assert '"event": "request_failed"' in logged


def test_text_that_the_database_cannot_hold_is_refused_where_it_stands(
    service: Service, api: httpx.Client
) -> None:
    for metadata in ('{"a": "x\\u0000"}', '{"a": "\\ud800"}'):
        body = f'{{"kind": "audit", "metadata": {metadata}}}'
        answer = api.post("/v1/jobs", content=body.encode(), headers={"Content-Type": "application/json"})
        refused(answer, 422, "invalid_request", "/metadata/a")
    order = service.sanitize_order(audit={"target": "a\x00b"})
    refused(api.post("/v1/jobs", json=order), 422, "invalid_request", "/audit/target")


def test_a_line_is_logged_for_every_request(api: httpx.Client, service_log: io.StringIO) -> None:
    api.get("/v1/jobs?limit=1", headers={"X-Request-ID": "logged-00000001"})
    found = [json.loads(line) for line in service_log.getvalue().splitlines() if "logged-00000001" in line]
    (line,) = [line for line in found if line["event"] == "request"]
    assert (line["method"], line["route"], line["status"]) == ("GET", "/v1/jobs", 200)
    assert line["key_id"].startswith("key_")
    assert line["duration_ms"] > 0


def test_the_document_names_every_operation_and_its_problems(service: Service) -> None:
    document = httpx.get(f"{service.url}/v1/openapi.json", timeout=60).json()
    operations = [op for path in document["paths"].values() for op in path.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(names) == len(set(names))
    assert all("__" not in name and name.islower() for name in names)
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"], path
            assert operation["description"], path
            if not path.startswith("/v1/"):
                continue
            assert operation["security"] == [{"ApiKey": []}], path
            for status in ("401", "403", "503"):
                content = operation["responses"][status]["content"]
                assert content == {
                    "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
                }, (path, method)
    assert {"Problem", "ErrorItem", "CleanCLIPRecipe", "BadNetOptions", "Report", "JobOut"} <= set(
        document["components"]["schemas"]
    )


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def test_every_reference_in_the_document_leads_somewhere(service: Service) -> None:
    document = httpx.get(f"{service.url}/v1/openapi.json", timeout=60).json()
    found = set(references(document))
    assert len(found) > 30
    for reference in found:
        assert reference.removeprefix("#/components/schemas/") in document["components"]["schemas"], reference
