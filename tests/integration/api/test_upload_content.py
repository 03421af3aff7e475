"""The streaming PUT: one request, bounded memory, nothing left behind when it is cut or wrong."""

from __future__ import annotations

import hashlib
import socket
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from app.api.ports import MAX_STREAMS
from app.services import upload_content
from app.storage.errors import StoreUnavailable
from tests.integration.api.service import MIB, Service, refused

CONTENT = bytes(range(251)) * (11 * MIB // 251)


def create(api: httpx.Client, **changes: Any) -> str:
    announced = {"filename": "clip.pt", "size_bytes": len(CONTENT)} | changes
    return str(api.post("/v1/uploads", json=announced).json()["id"])


def in_chunks(content: bytes) -> Iterator[bytes]:
    """A body without a Content-Length."""
    for start in range(0, len(content), 300_000):
        yield content[start : start + 300_000]


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_file_streams_in_and_is_completed_as_any_other(
    service: Service, api: httpx.Client, is_chunked: bool
) -> None:
    upload_id = create(api, sha256=hashlib.sha256(CONTENT).hexdigest())
    put = api.put(f"/v1/uploads/{upload_id}/content", content=in_chunks(CONTENT) if is_chunked else CONTENT)
    assert put.status_code == 200, put.text
    assert put.json()["state"] == "open"
    stored = api.get(f"/v1/uploads/{upload_id}").json()["stored_parts"]
    assert [part["size_bytes"] for part in stored] == [5 * MIB, 5 * MIB, len(CONTENT) - 10 * MIB]
    done = api.post(f"/v1/uploads/{upload_id}/complete").json()
    assert done["checkpoint_id"]
    with service.database.unit_of_work() as unit:
        row = unit.uploads.get(service.ours.project_id, upload_id)
    assert b"".join(service.store.stream(row.object_key)) == CONTENT


def test_a_second_stream_replaces_the_first(service: Service, api: httpx.Client) -> None:
    upload_id = create(api)
    before = service.multipart_keys()
    api.put(f"/v1/uploads/{upload_id}/content", content=bytes(len(CONTENT)))
    api.put(f"/v1/uploads/{upload_id}/content", content=CONTENT)
    assert service.multipart_keys() == before, "the first one's parts are gone"
    api.post(f"/v1/uploads/{upload_id}/complete")
    with service.database.unit_of_work() as unit:
        row = unit.uploads.get(service.ours.project_id, upload_id)
    assert b"".join(service.store.stream(row.object_key)) == CONTENT


def test_bytes_with_another_digest_than_declared_are_refused(service: Service, api: httpx.Client) -> None:
    upload_id = create(api, sha256="0" * 64)
    with service.nothing_left_behind():
        answer = api.put(f"/v1/uploads/{upload_id}/content", content=CONTENT)
        problem = refused(answer, 422, "upload_digest_mismatch")
    assert hashlib.sha256(CONTENT).hexdigest() in problem["detail"]
    assert api.get(f"/v1/uploads/{upload_id}").json()["stored_parts"] == []


@pytest.mark.parametrize("change", [-1, 1])
@pytest.mark.parametrize("is_chunked", [False, True])
def test_more_or_fewer_bytes_than_declared_are_refused(
    service: Service, api: httpx.Client, change: int, is_chunked: bool
) -> None:
    upload_id = create(api, size_bytes=len(CONTENT) + change)
    with service.nothing_left_behind():
        body = in_chunks(CONTENT) if is_chunked else CONTENT
        answer = api.put(f"/v1/uploads/{upload_id}/content", content=body)
        refused(answer, 422, "upload_size_mismatch")


def test_a_connection_that_is_cut_leaves_nothing(service: Service, api: httpx.Client) -> None:
    upload_id = create(api)
    num_before = len(service.multipart_keys())
    with service.nothing_left_behind():
        address = urlsplit(service.url)
        with socket.create_connection((address.hostname or "", address.port or 0)) as connection:
            connection.sendall(
                f"PUT /v1/uploads/{upload_id}/content HTTP/1.1\r\nHost: x\r\n"
                f"Authorization: Bearer {service.ours.key}\r\nContent-Length: {len(CONTENT)}\r\n\r\n".encode()
            )
            connection.sendall(CONTENT[: 7 * MIB])
            wait_for(lambda: len(service.multipart_keys()) == num_before + 1)
        wait_for(lambda: len(service.multipart_keys()) == num_before)
    assert api.get(f"/v1/uploads/{upload_id}").json()["state"] == "open"


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_store_that_fails_half_way_is_a_503_and_leaves_nothing(
    service: Service, api: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_id = create(api)
    real = service.ports.store.upload_part

    def failing(key: str, upload: str, number: int, body: bytes) -> Any:
        if number == 2:
            raise StoreUnavailable("SlowDown")
        return real(key, upload, number, body)

    monkeypatch.setattr(service.ports.store, "upload_part", failing)
    with service.nothing_left_behind():
        answer = api.put(f"/v1/uploads/{upload_id}/content", content=CONTENT)
        refused(answer, 503, "store_unavailable")


@pytest.mark.parametrize(
    ("is_deleted", "status", "code"), [(True, 404, "upload_not_found"), (False, 409, "upload_lost")]
)
def test_an_upload_that_is_deleted_while_it_streams_is_gone_and_no_fault(
    service: Service, api: httpx.Client, is_deleted: bool, status: int, code: str
) -> None:
    before = service.multipart_keys()
    upload_id = create(api)

    def body() -> Iterator[bytes]:
        yield CONTENT[: 6 * MIB]
        deadline = time.monotonic() + 10
        while len(service.multipart_keys()) < len(before) + 2:
            assert time.monotonic() < deadline, "the stream did not begin"
            time.sleep(0.02)
        if is_deleted:
            answer = httpx.delete(f"{service.url}/v1/uploads/{upload_id}", headers=api.headers)
            assert answer.status_code == 202
        service.store.purge(f"uploads/{service.ours.project_id}/{upload_id}")  # as the sweeper does
        yield CONTENT[6 * MIB :]

    refused(api.put(f"/v1/uploads/{upload_id}/content", content=body()), status, code)
    assert service.multipart_keys() == before


def test_a_connection_that_stands_still_is_ended(
    service: Service, api: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload_content, "STALLED_AFTER_S", 0.5)
    upload_id = create(api)
    with service.nothing_left_behind():
        address = urlsplit(service.url)
        with socket.create_connection((address.hostname or "", address.port or 0), timeout=20) as connection:
            connection.sendall(
                f"PUT /v1/uploads/{upload_id}/content HTTP/1.1\r\nHost: x\r\n"
                f"Authorization: Bearer {service.ours.key}\r\nContent-Length: {len(CONTENT)}\r\n\r\n".encode()
            )
            connection.sendall(CONTENT[:1000])
            assert b"upload_stalled" in connection.recv(4000)


def test_a_ninth_stream_at_once_is_asked_to_wait(service: Service, api: httpx.Client) -> None:
    upload_id = create(api)
    for _ in range(MAX_STREAMS):
        assert service.ports.streams.acquire(blocking=False)
    try:
        answer = api.put(f"/v1/uploads/{upload_id}/content", content=CONTENT)
        refused(answer, 503, "uploads_busy")
    finally:
        for _ in range(MAX_STREAMS):
            service.ports.streams.release()
    assert api.put(f"/v1/uploads/{upload_id}/content", content=CONTENT).status_code == 200
