"""Uploads and downloads where the service or the store answers oddly; the ordinary is tested on real ones."""

import hashlib
import json
from pathlib import Path

import httpx
import pytest

from cleanclip import places
from cleanclip.errors import ApiError, Conflict, InUse, StoreError, UnexpectedAnswer
from cleanclip.memory import Memory, of_file
from cleanclip.models import Artifact
from cleanclip.sync.artifacts import plain_name
from cleanclip.transfer import Meter, TransferProgress
from tests.unit.cleanclip.service import FakeClock, FakeRoutes, client_on, problem

BOTH_CLIENTS = True

STORE = "https://store.example.net"
CONTENT = b"0123456789" * 3


def upload(**changes: object) -> dict[str, object]:
    return {
        "id": "upl_1",
        "state": "open",
        "purpose": "checkpoint",
        "filename": "a.pt",
        "size_bytes": 30,
        "part_size_bytes": 8,
        "num_parts": 4,
        "checkpoint_id": None,
    } | changes


def part_urls(*numbers: int) -> list[dict[str, object]]:
    return [
        {"number": n, "size_bytes": 8, "url": f"{STORE}/k/{n}?signature=secret", "expires_at": None}
        for n in numbers
    ]


def part_stored(request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, headers={"ETag": f'"{hashlib.md5(request.content).hexdigest()}"'})


def routes() -> FakeRoutes:
    """A service and a store that take an upload of four parts."""
    return FakeRoutes(
        {
            ("POST", "/v1/uploads"): httpx.Response(201, json=upload(parts=part_urls(1, 2, 3, 4))),
            ("POST", "/v1/uploads/upl_1/complete"): httpx.Response(
                200, json=upload(state="completed", checkpoint_id="ckpt_1")
            ),
            ("POST", "/v1/uploads/upl_1/cancel"): httpx.Response(200, json=upload(state="cancelled")),
            **{("PUT", f"/k/{number}"): part_stored for number in (1, 2, 3, 4)},
        }
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.pt"
    path.write_bytes(CONTENT)
    return path


def test_parts_are_cut_as_the_plan_says_and_claimed_with_their_etags(file: Path) -> None:
    service = routes()
    with client_on(service) as client:
        sent = client.uploads.upload_file(file)
    assert sent.checkpoint_id == "ckpt_1"
    bodies = {
        request.url.path: request.content
        for request in service.requests
        if request.url.host.startswith("store")
    }
    assert b"".join(bodies[f"/k/{number}"] for number in (1, 2, 3, 4)) == CONTENT
    completed = next(request for request in service.requests if request.url.path.endswith("/complete"))
    assert json.loads(completed.content)["parts"] == [
        {"number": n, "etag": f'"{hashlib.md5(CONTENT[8 * n - 8 : 8 * n]).hexdigest()}"'}
        for n in (1, 2, 3, 4)
    ]


def test_where_the_store_tells_no_etags_none_are_claimed(file: Path) -> None:
    service = routes()
    service.routes["PUT", "/k/2"] = httpx.Response(200)
    with client_on(service) as client:
        client.uploads.upload_file(file)
    completed = next(request for request in service.requests if request.url.path.endswith("/complete"))
    assert json.loads(completed.content) == {"sha256": hashlib.sha256(CONTENT).hexdigest()}


def test_parts_that_got_lost_before_completion_are_sent_again(file: Path) -> None:
    service = routes()
    refusals = [problem(409, "upload_parts_missing")]
    done = httpx.Response(200, json=upload(state="completed", checkpoint_id="ckpt_1"))
    stored = [
        {"number": n, "size_bytes": 8, "etag": hashlib.md5(CONTENT[8 * n - 8 : 8 * n]).hexdigest()}
        for n in (1, 2, 3)
    ]
    service.routes["POST", "/v1/uploads/upl_1/complete"] = lambda _: refusals.pop() if refusals else done
    service.routes["GET", "/v1/uploads/upl_1"] = httpx.Response(200, json=upload(stored_parts=stored))
    service.routes["POST", "/v1/uploads/upl_1/parts"] = httpx.Response(
        200, json={"upload_id": "upl_1", "parts": part_urls(4)}
    )
    with client_on(service) as client:
        assert client.uploads.upload_file(file).upload.state == "completed"
    puts = [request.url.path for request in service.requests if request.method == "PUT"]
    assert sorted(puts) == ["/k/1", "/k/2", "/k/3", "/k/4", "/k/4"]


def test_a_store_that_goes_away_in_the_middle_is_an_error_and_not_a_reason_to_stream(file: Path) -> None:
    service = routes()
    service.routes["PUT", "/k/4"] = httpx.ConnectError("gone", request=httpx.Request("PUT", STORE))
    with client_on(service) as client, pytest.raises(StoreError, match=r"store\.example\.net") as caught:
        client.uploads.upload_file(file)
    assert "secret" not in str(caught.value), "a presigned URL is never shown"
    assert not [request for request in service.requests if request.url.path.endswith("/content")]


def test_a_failure_while_streaming_is_tried_again_from_the_first_byte(file: Path) -> None:
    service = routes()
    for number in (1, 2, 3, 4):
        service.routes["PUT", f"/k/{number}"] = httpx.ConnectError("no", request=httpx.Request("PUT", STORE))
    answers = [httpx.Response(200, json=upload()), httpx.Response(503)]
    service.routes["PUT", "/v1/uploads/upl_1/content"] = lambda _: answers.pop()
    reported: list[TransferProgress] = []
    with client_on(service) as client:
        sent = client.uploads.upload_file(file, progress=reported.append)
    assert sent.is_streamed
    assert sent.sha256 == hashlib.sha256(CONTENT).hexdigest()
    streamed = [request for request in service.requests if request.url.path.endswith("/content")]
    assert [request.content for request in streamed] == [CONTENT, CONTENT]
    assert [request.headers["content-length"] for request in streamed] == ["30", "30"]
    assert "transfer-encoding" not in streamed[0].headers
    assert reported[-1].done_bytes == 30


def test_an_upload_that_the_service_forgot_is_begun_anew(file: Path) -> None:
    service = routes()
    service.routes["PUT", "/k/3"] = httpx.Response(400)
    with client_on(service) as client:
        with pytest.raises(StoreError):
            client.uploads.upload_file(file)
        service.routes["PUT", "/k/3"] = part_stored
        service.requests.clear()
        assert client.uploads.upload_file(file).num_parts_resumed == 0
    asked = [(request.method, request.url.path) for request in service.requests]
    assert asked[:2] == [("GET", "/v1/uploads/upl_1"), ("POST", "/v1/uploads")]


def test_without_resume_nothing_is_asked_of_earlier_runs(file: Path) -> None:
    service = routes()
    memory = Memory("uploads", "https://clean.example.org/", of_file(file), "checkpoint", {})
    memory.remember(upload_id="upl_0")
    with client_on(service) as client:
        client.uploads.upload_file(file, resume=False)
    assert service.requests[0].url.path == "/v1/uploads"


def test_a_state_conflict_is_not_remembered(file: Path, tmp_path: Path) -> None:
    service = routes()
    service.routes["POST", "/v1/uploads/upl_1/complete"] = problem(409, "upload_lost")
    with client_on(service) as client, pytest.raises(Conflict):
        client.uploads.upload_file(file)
    assert not list((tmp_path / "cache").rglob("*.json"))


def test_a_cache_that_cannot_be_written_costs_nothing_but_the_resume(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "occupied").touch()
    monkeypatch.setenv("CLEANCLIP_CACHE_DIR", str(tmp_path / "occupied"))
    with client_on(routes()) as client:
        assert client.uploads.upload_file(file).checkpoint_id == "ckpt_1"


def test_files_of_ours_are_for_this_user_only_and_never_half_written(tmp_path: Path) -> None:
    path = tmp_path / "new" / "x.json"
    places.write_private(path, {"a": 1})
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(TypeError):
        places.write_private(path, {"a": object()})
    assert places.read_json(path) == {"a": 1}
    assert [item.name for item in path.parent.iterdir()] == ["x.json"]
    path.write_text("{ half")
    assert places.read_json(path) == {}


@pytest.mark.parametrize("name", ["../evil", "a/b", "..", ".", "", "a\\b", "C:x", "nul\x00"])
def test_a_name_that_would_leave_the_folder_is_refused(name: str) -> None:
    artifact = Artifact(id="art_1", job_id="job_1", name=name, size_bytes=1, sha256="0" * 64)
    with pytest.raises(UnexpectedAnswer, match="plain file name"):
        plain_name(artifact)


def test_a_redirect_that_leads_nowhere_is_refused(tmp_path: Path) -> None:
    artifact = {"id": "art_1", "job_id": "job_1", "name": "w", "size_bytes": 3, "sha256": "0" * 64}
    service = FakeRoutes(
        {
            ("GET", "/v1/artifacts/art_1"): httpx.Response(200, json=artifact),
            ("GET", "/v1/artifacts/art_1/content"): httpx.Response(307, headers={"Location": "file:///etc"}),
        }
    )
    with client_on(service) as client, pytest.raises(UnexpectedAnswer):
        client.artifacts.download("art_1", tmp_path / "w")


def test_a_store_that_ignores_ranges_is_not_mistaken_for_one_that_serves_them(tmp_path: Path) -> None:
    artifact = {"id": "art_1", "job_id": "job_1", "name": "w", "size_bytes": 30, "sha256": "0" * 64}
    service = FakeRoutes(
        {
            ("GET", "/v1/artifacts/art_1"): httpx.Response(200, json=artifact),
            ("GET", "/v1/artifacts/art_1/content"): httpx.Response(307, headers={"Location": f"{STORE}/w"}),
            ("GET", "/w"): lambda _: httpx.Response(200, content=CONTENT),
        }
    )
    with client_on(service) as client, pytest.raises(StoreError) as caught:
        client.artifacts.download("art_1", tmp_path / "w", piece_bytes=10)
    assert caught.value.status == 200
    assert not (tmp_path / "w").exists()


def test_two_downloads_into_one_file_the_second_is_refused_and_the_first_ends_whole(tmp_path: Path) -> None:
    artifact = {"id": "art_1", "job_id": "job_1", "name": "w", "size_bytes": len(CONTENT)}
    artifact["sha256"] = hashlib.sha256(CONTENT).hexdigest()
    refused: list[BaseException] = []

    def second(request: httpx.Request) -> httpx.Response:
        try:
            with client_on(service) as other:
                other.artifacts.download("art_1", tmp_path / "w", resume=False)
        except InUse as error:
            refused.append(error)
        begin, end = (int(place) for place in request.headers["range"].removeprefix("bytes=").split("-"))
        content_range = {"Content-Range": f"bytes {begin}-{end}/{len(CONTENT)}"}
        return httpx.Response(206, stream=httpx.ByteStream(CONTENT[begin : end + 1]), headers=content_range)

    service = FakeRoutes(
        {
            ("GET", "/v1/artifacts/art_1"): httpx.Response(200, json=artifact),
            ("GET", "/v1/artifacts/art_1/content"): httpx.Response(307, headers={"Location": f"{STORE}/w"}),
            ("GET", "/w"): second,
        }
    )
    with client_on(service) as client:
        client.artifacts.download("art_1", tmp_path / "w", piece_bytes=len(CONTENT) // 2 + 1)
    assert (tmp_path / "w").read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["w"], "no part and no lock stays"
    assert len(refused) == 2
    assert f"Another download writes {tmp_path / 'w'}" in str(refused[0])
    assert "choose another folder" in str(refused[0])


def test_rate_and_time_left_count_only_what_moved_now() -> None:
    clock = FakeClock()
    reported: list[TransferProgress] = []
    meter = Meter(1000, reported.append, clock.clock())
    meter.add_existing(400)
    for _ in range(3):
        clock.sleep(1.0)
        meter.moved(100)
    assert reported[-1].done_bytes == 700
    assert reported[-1].rate_bytes_per_s == pytest.approx(100)
    assert reported[-1].eta_s == pytest.approx(3.0)
    meter.moved(-100)
    meter.finish()
    assert reported[-1].done_bytes == 600


def test_progress_is_told_at_most_ten_times_a_second() -> None:
    clock = FakeClock()
    reported: list[TransferProgress] = []
    meter = Meter(10_000, reported.append, clock.clock())
    for _ in range(1000):
        clock.sleep(0.001)
        meter.moved(10)
    meter.finish()
    assert 8 <= len(reported) <= 12
    assert reported[-1].fraction == 1.0


def test_every_error_of_the_service_is_an_api_error() -> None:
    assert issubclass(Conflict, ApiError)
    assert not issubclass(StoreError, ApiError)
