"""The streaming PUT: one request, bounded memory, nothing left behind when it is cut or wrong."""

import contextlib
import dataclasses
import hashlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from app.domain.errors import Unavailable
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
        with begun(service, upload_id) as connection:
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


@contextlib.contextmanager
def uploads_like(service: Service, **changes: Any) -> Iterator[None]:
    """The settings of streams, others for a while; settings do not change while a process lives."""
    before = service.app.state.ports
    settings = before.settings.model_copy(
        update={"uploads": before.settings.uploads.model_copy(update=changes)}
    )
    service.app.state.ports = dataclasses.replace(before, settings=settings)
    yield
    service.app.state.ports = before


@contextlib.contextmanager
def begun(service: Service, upload_id: str) -> Iterator[socket.socket]:
    """A stream whose head is sent, and none of its bytes."""
    address = urlsplit(service.url)
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=20) as connection:
        connection.sendall(
            f"PUT /v1/uploads/{upload_id}/content HTTP/1.1\r\nHost: x\r\n"
            f"Authorization: Bearer {service.ours.key}\r\nContent-Length: {len(CONTENT)}\r\n\r\n".encode()
        )
        yield connection


@pytest.mark.parametrize("every_s", [0.1, 60.0])
def test_a_connection_that_stands_still_or_drips_is_ended(
    service: Service, api: httpx.Client, every_s: float
) -> None:
    upload_id = create(api)
    changes = {"stream_window_s": 0.5, "min_stream_bytes_per_s": 2000}
    with uploads_like(service, **changes), service.nothing_left_behind(), begun(service, upload_id) as stream:
        stream.sendall(CONTENT[:900])
        drips = threading.Event()

        def drip() -> None:
            while not drips.wait(every_s):
                stream.sendall(b"x")

        dripping = threading.Thread(target=drip)
        dripping.start()
        started = time.monotonic()
        assert b"upload_stalled" in stream.recv(4000)
        assert time.monotonic() - started < 20
        drips.set()
        dripping.join()


def test_a_slow_stream_that_is_fast_enough_comes_to_its_end(service: Service, api: httpx.Client) -> None:
    def body() -> Iterator[bytes]:
        for _ in range(25):
            time.sleep(0.1)
            yield bytes(1000)

    upload_id = create(api, size_bytes=25_000)
    with uploads_like(service, stream_window_s=2.0, min_stream_bytes_per_s=500):
        assert api.put(f"/v1/uploads/{upload_id}/content", content=body()).status_code == 200


def test_a_project_streams_at_most_half_of_what_a_process_takes_and_shuts_nobody_out(
    service: Service, api: httpx.Client, others: httpx.Client
) -> None:
    slots = service.ports.upload_slots
    num_held = service.ports.settings.uploads.max_streams // 2
    ours, theirs = create(api), create(others)
    with contextlib.ExitStack() as held:
        for _ in range(num_held):
            held.enter_context(slots.one_for(service.ours.project_id))
        refused(api.put(f"/v1/uploads/{ours}/content", content=CONTENT), 503, "uploads_busy")
        assert others.put(f"/v1/uploads/{theirs}/content", content=CONTENT).status_code == 200
        for taken in range(num_held):  # the last one, by other projects
            with slots.one_for(f"prj_{taken}"):
                pass
            held.enter_context(slots.one_for(f"prj_{taken}"))
        with pytest.raises(Unavailable, match="8 of 8 places"), slots.one_for("prj_late"):
            pass
    assert api.put(f"/v1/uploads/{ours}/content", content=CONTENT).status_code == 200
