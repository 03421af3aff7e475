"""Files on their way up: in parts, cut and resumed, through the service where the store is out of reach."""

import hashlib
import os
import time
from pathlib import Path

import httpx
import pytest

from cleanclip.errors import DigestMismatch, FileChanged, InvalidInput, StoreError
from cleanclip.sync.client import Client
from cleanclip.transfer import TransferProgress
from tests.integration.cleanclip.served import MIB, Served
from tests.integration.cleanclip.wires import Wires, part_number

SIZE = 16 * MIB + 11  # four parts of 5 MiB


@pytest.fixture
def checkpoint_file(tmp_path: Path) -> Path:
    """Bytes that differ from part to part."""
    path = tmp_path / "clip.pt"
    path.write_bytes(os.urandom(SIZE))
    return path


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def stored(served: Served, upload_id: str) -> bytes:
    """What the object store holds of a completed upload."""
    with served.database.unit_of_work() as unit:
        row = unit.uploads.get(served.project_id, upload_id)
    return b"".join(served.store.stream(row.object_key))


def notes(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "cache").rglob("*.json"))


def test_a_file_goes_up_in_parts_and_arrives_whole(
    served: Served, client: Client, wires: Wires, checkpoint_file: Path, tmp_path: Path
) -> None:
    with checkpoint_file.open("ab") as file:
        file.write(os.urandom(10 * MIB))  # more parts than are on their way at a time
    reported: list[TransferProgress] = []
    sent = client.uploads.upload_file(
        checkpoint_file, declared={"quick_gelu": True}, progress=reported.append
    )
    assert sent.upload.state == "completed"
    assert sent.checkpoint_id is not None
    assert sent.sha256 == digest(checkpoint_file)
    assert stored(served, sent.id) == checkpoint_file.read_bytes()
    assert wires.parts_sent() == [1, 2, 3, 4, 5, 6]
    assert not sent.is_streamed
    assert (reported[-1].done_bytes, reported[-1].total_bytes) == (SIZE + 10 * MIB, SIZE + 10 * MIB)
    assert notes(tmp_path) == [], "nothing is remembered of a finished upload"
    checkpoint = client.checkpoints.get(sent.checkpoint_id)
    assert (checkpoint.state, checkpoint.filename) == ("quarantined", "clip.pt")
    assert checkpoint.declared is not None
    assert checkpoint.declared["quick_gelu"] is True


def test_the_key_never_reaches_the_store(
    served: Served, client: Client, wires: Wires, checkpoint_file: Path
) -> None:
    client.uploads.upload_file(checkpoint_file)
    for request in wires.seen:
        is_service = str(request.url).startswith(served.url)
        assert ("authorization" in request.headers) is is_service, request.url
        assert served.key not in str(request.url)


def test_a_part_that_fails_for_good_is_the_only_work_left_for_the_next_run(
    served: Served, client: Client, wires: Wires, checkpoint_file: Path, tmp_path: Path
) -> None:
    def lose_the_last_part(request: httpx.Request) -> httpx.Response | None:
        if part_number(request) == 4:
            raise httpx.ReadError("cut", request=request)
        return None

    wires.rule = lose_the_last_part
    with pytest.raises(StoreError):
        client.uploads.upload_file(checkpoint_file)
    assert wires.parts_sent().count(4) == 3, "it was tried as often as the retries allow"
    assert len(notes(tmp_path)) == 1
    half_done = notes(tmp_path)[0].read_text()

    wires.rule = lambda request: None
    wires.seen.clear()
    reported: list[TransferProgress] = []
    sent = client.uploads.upload_file(checkpoint_file, progress=reported.append)
    assert wires.parts_sent() == [4], "what the store holds is not sent again"
    assert sent.num_parts_resumed == 3
    assert sent.id in half_done
    assert sent.sha256 == digest(checkpoint_file)
    assert stored(served, sent.id) == checkpoint_file.read_bytes()
    assert reported[-1].done_bytes == SIZE


def test_a_part_that_fails_once_is_sent_again(
    served: Served, client: Client, wires: Wires, checkpoint_file: Path
) -> None:
    failed: list[int] = []

    def fail_once(request: httpx.Request) -> httpx.Response | None:
        if part_number(request) in {2, 4} and part_number(request) not in failed:
            failed.append(part_number(request) or 0)
            return httpx.Response(503, request=request)
        return None

    wires.rule = fail_once
    reported: list[TransferProgress] = []
    sent = client.uploads.upload_file(checkpoint_file, progress=reported.append)
    assert sorted(failed) == [2, 4]
    assert stored(served, sent.id) == checkpoint_file.read_bytes()
    assert reported[-1].done_bytes == SIZE, "bytes of a try that failed do not count"


def test_an_expired_url_is_replaced(client: Client, wires: Wires, checkpoint_file: Path) -> None:
    refused: set[int] = set()

    def expired(request: httpx.Request) -> httpx.Response | None:
        number = part_number(request)
        if number is not None and number not in refused:
            refused.add(number)
            return httpx.Response(403, request=request)
        return None

    wires.rule = expired
    assert client.uploads.upload_file(checkpoint_file).upload.state == "completed"
    asked = [request for request in wires.seen if request.url.path.endswith("/parts")]
    assert asked, "fresh URLs were asked for"


def test_a_store_out_of_reach_makes_the_file_go_through_the_service(
    served: Served, client: Client, wires: Wires, checkpoint_file: Path
) -> None:
    def unreachable(request: httpx.Request) -> httpx.Response | None:
        if part_number(request) is not None:
            raise httpx.ConnectError("no route to host", request=request)
        return None

    wires.rule = unreachable
    reported: list[TransferProgress] = []
    sent = client.uploads.upload_file(checkpoint_file, progress=reported.append)
    assert sent.is_streamed
    assert sent.sha256 == digest(checkpoint_file)
    assert sent.upload.state == "completed"
    assert stored(served, sent.id) == checkpoint_file.read_bytes()
    assert reported[-1].done_bytes == SIZE


def test_a_stored_part_with_other_bytes_is_replaced(
    served: Served, client: Client, wires: Wires, checkpoint_file: Path
) -> None:
    def fail_the_last(request: httpx.Request) -> httpx.Response | None:
        return httpx.Response(400, request=request) if part_number(request) == 4 else None

    wires.rule = fail_the_last
    with pytest.raises(StoreError) as caught:
        client.uploads.upload_file(checkpoint_file)
    assert caught.value.status == 400
    [note] = (Path(os.environ["CLEANCLIP_CACHE_DIR"]) / "uploads").iterdir()
    upload_id = note.read_text().split('"')[3]
    [foreign] = client.uploads.parts(upload_id, [1]).parts
    time.sleep(1.1)  # SeaweedFS lists both versions of a part; only its clock, in seconds, tells the newer
    assert httpx.put(foreign.url, content=b"x" * (5 * MIB)).status_code == 200
    time.sleep(1.1)  # and so for the version that replaces this one
    wires.rule = lambda request: None
    wires.seen.clear()
    sent = client.uploads.upload_file(checkpoint_file)
    assert wires.parts_sent() == [1, 4]
    assert stored(served, sent.id) == checkpoint_file.read_bytes()


def test_an_upload_that_was_completed_just_before_the_crash_is_recognised(
    client: Client, wires: Wires, checkpoint_file: Path
) -> None:
    class Crash(BaseException):
        pass

    def crash_after_completion(request: httpx.Request) -> httpx.Response | None:
        if request.url.path.endswith("/complete"):
            request.read()
            headers = {key: value for key, value in request.headers.items() if key != "host"}
            assert httpx.post(request.url, content=request.content, headers=headers).status_code == 200
            raise Crash
        return None

    wires.rule = crash_after_completion
    with pytest.raises(Crash):
        client.uploads.upload_file(checkpoint_file)
    wires.rule = lambda request: None
    wires.seen.clear()
    sent = client.uploads.upload_file(checkpoint_file)
    assert sent.upload.state == "completed"
    assert sent.checkpoint_id is not None
    assert wires.parts_sent() == []
    assert sent.sha256 == digest(checkpoint_file)
    assert not [request for request in wires.seen if request.method == "POST"], "nothing new was created"


def test_a_file_that_is_not_the_promised_one_is_given_up_before_it_is_completed(
    served: Served, client: Client, checkpoint_file: Path, tmp_path: Path
) -> None:
    before = client.checkpoints.list().data
    with pytest.raises(DigestMismatch) as caught:
        client.uploads.upload_file(checkpoint_file, sha256="0" * 64)
    assert caught.value.actual == digest(checkpoint_file)
    assert client.checkpoints.list().data == before
    assert notes(tmp_path) == []


def test_a_file_that_grows_while_it_is_sent_is_given_up(
    served: Served, client: Client, wires: Wires, checkpoint_file: Path
) -> None:
    def grow(request: httpx.Request) -> httpx.Response | None:
        if part_number(request) == 1:
            with checkpoint_file.open("ab") as file:
                file.write(b"more")
        return None

    wires.rule = grow
    before = client.checkpoints.list().data
    with pytest.raises(FileChanged):
        client.uploads.upload_file(checkpoint_file)
    assert client.checkpoints.list().data == before
    assert [request for request in wires.seen if request.url.path.endswith("/cancel")]


def test_a_changed_file_is_another_file(client: Client, wires: Wires, checkpoint_file: Path) -> None:
    wires.rule = lambda request: httpx.Response(400, request=request) if part_number(request) == 3 else None
    with pytest.raises(StoreError):
        client.uploads.upload_file(checkpoint_file)
    checkpoint_file.write_bytes(os.urandom(SIZE))
    wires.rule = lambda request: None
    wires.seen.clear()
    sent = client.uploads.upload_file(checkpoint_file)
    assert sent.num_parts_resumed == 0
    assert wires.parts_sent() == [1, 2, 3, 4]


def test_an_empty_file_is_refused_with_its_pointer(client: Client, tmp_path: Path) -> None:
    empty = tmp_path / "empty.pt"
    empty.touch()
    with pytest.raises(InvalidInput) as caught:
        client.uploads.upload_file(empty)
    assert [item.pointer for item in caught.value.errors] == ["/size_bytes"]
