"""What only the asynchronous client can do: calls side by side, cancelled, leaving nothing behind."""

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from cleanclip import places
from cleanclip.aio.client import AsyncClient
from cleanclip.retries import Retries
from tests.unit.cleanclip.service import KEY, URL, FakeService, job, problem

PART = 8
CONTENT = b"0123456789abcdef" * 4
FINISHED = httpx.Response(200, json=job(state="succeeded"))


def client_on(transport: httpx.AsyncBaseTransport) -> AsyncClient:
    return AsyncClient(URL, KEY, transport=transport, retries=Retries(max_tries=3, base_s=0.001))


def others() -> set[asyncio.Task[object]]:
    return asyncio.all_tasks() - {asyncio.current_task()}  # type: ignore[arg-type]


class Bytes(httpx.AsyncBaseTransport):
    """A service and a store with one file of eight parts; the store stops at what `held` names."""

    def __init__(self, *held: str) -> None:
        self.held = set(held)
        self.is_holding = asyncio.Event()
        self.stored: dict[str, bytes] = {}
        self.at_once = self.most_at_once = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        path = request.url.path
        if request.url.host == "store.example.net":
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            try:
                return await self._at_the_store(request, path.rpartition("/")[2])
            finally:
                self.at_once -= 1
        return self._at_the_service(request.method, path)

    async def _at_the_store(self, request: httpx.Request, name: str) -> httpx.Response:
        await asyncio.sleep(0.001)
        if request.method == "GET":
            name = request.headers["range"]
        if name in self.held:
            self.is_holding.set()
            await asyncio.sleep(3600)
        if request.method == "GET":
            begin, end = (int(number) for number in name.removeprefix("bytes=").split("-"))
            return httpx.Response(206, stream=httpx.ByteStream(CONTENT[begin : end + 1]))
        self.stored[name] = request.content
        return httpx.Response(200, headers={"ETag": f'"{hashlib.md5(request.content).hexdigest()}"'})

    def _at_the_service(self, method: str, path: str) -> httpx.Response:
        upload = {
            "id": "upl_1",
            "state": "open",
            "size_bytes": len(CONTENT),
            "part_size_bytes": PART,
            "num_parts": 8,
        }
        artifact = {"id": "art_1", "job_id": "job_1", "name": "model.bin", "size_bytes": len(CONTENT)}
        parts = [
            {"number": number, "size_bytes": PART, "url": f"https://store.example.net/{number}"}
            for number in range(1, 9)
        ]
        stored = [
            {"number": int(name), "size_bytes": PART, "etag": hashlib.md5(body).hexdigest()}
            for name, body in self.stored.items()
        ]
        answers: dict[str, tuple[int, object]] = {
            "/v1/uploads": (201, upload | {"parts": parts}),
            "/v1/uploads/upl_1": (200, upload | {"parts": parts, "stored_parts": stored}),
            "/v1/uploads/upl_1/complete": (200, upload | {"state": "completed", "checkpoint_id": "ckpt_1"}),
            "/v1/artifacts/art_1": (200, artifact | {"sha256": hashlib.sha256(CONTENT).hexdigest()}),
        }
        if path.endswith("/content"):
            return httpx.Response(307, headers={"Location": "https://store.example.net/model"})
        status, body = answers[path]
        return httpx.Response(status, json=body)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.pt"
    path.write_bytes(CONTENT)
    return path


def test_parts_travel_four_at_a_time_and_nothing_is_left_behind(file: Path) -> None:
    async def go() -> None:
        network = Bytes()
        threads = threading.active_count()
        async with client_on(network) as client:
            sent = await client.uploads.upload_file(file)
            path = await client.artifacts.download("art_1", file.with_name("b"), piece_bytes=PART)
            assert (others(), threading.active_count()) == (set(), threads)
        assert sent.sha256 == hashlib.sha256(CONTENT).hexdigest()
        assert b"".join(network.stored[str(number)] for number in range(1, 9)) == CONTENT
        assert path.read_bytes() == CONTENT
        assert network.most_at_once == 4

    asyncio.run(go())


def test_a_cancelled_upload_ends_at_once_leaves_nothing_running_and_goes_on_later(file: Path) -> None:
    async def go() -> None:
        network = Bytes("6")
        threads = threading.active_count()
        async with client_on(network) as client:
            sending = asyncio.create_task(client.uploads.upload_file(file))
            await network.is_holding.wait()
            while len(network.stored) < 7:  # those beside it go on
                await asyncio.sleep(0.001)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(sending, 5)
            assert (others(), threading.active_count(), network.at_once) == (set(), threads, 0)
            network.held.clear()
            sent = await client.uploads.upload_file(file)
        assert sent.num_parts_resumed == 7

    asyncio.run(go())


def test_a_cancelled_download_keeps_its_whole_pieces_and_goes_on_later(file: Path) -> None:
    async def go() -> None:
        network = Bytes("bytes=16-23")
        target = file.with_name("b")
        threads = threading.active_count()
        async with client_on(network) as client:
            fetching = asyncio.create_task(client.artifacts.download("art_1", target, piece_bytes=PART))
            while len(places.read_json(target.with_name("b.part.json")).get("whole", ())) < 7:
                await asyncio.sleep(0.001)
            fetching.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(fetching, 5)
            assert (others(), threading.active_count(), network.at_once) == (set(), threads, 0)
            assert not target.exists()
            network.held.clear()
            network.stored.clear()
            done: list[int] = []
            await client.artifacts.download(
                "art_1", target, piece_bytes=PART, progress=lambda now: done.append(now.done_bytes)
            )
        assert target.read_bytes() == CONTENT
        assert done[0] == len(CONTENT) - PART

    asyncio.run(go())


def test_one_failed_piece_ends_the_others_and_the_call(file: Path) -> None:
    class Broken(Bytes):
        async def _at_the_store(self, request: httpx.Request, name: str) -> httpx.Response:
            if request.headers["range"] == "bytes=0-7":
                return httpx.Response(404)
            await asyncio.sleep(3600)
            raise AssertionError("it is broken off before")

    async def go() -> None:
        async with client_on(Broken()) as client:
            with pytest.raises(Exception, match="404"):
                async with asyncio.timeout(10):
                    await client.artifacts.download("art_1", file.with_name("b"), piece_bytes=PART)
            assert others() == set()

    asyncio.run(go())


def test_fifty_jobs_are_waited_for_side_by_side() -> None:
    num_asked = 0

    def answer(request: httpx.Request) -> httpx.Response:
        nonlocal num_asked
        num_asked += 1
        state = "succeeded" if num_asked > 60 else "running"
        return httpx.Response(200, json=job(id=request.url.path.rpartition("/")[2], state=state))

    async def go() -> list[str]:
        async with client_on(FakeService(answer)) as client:
            waits = (client.jobs.wait(f"job_{number}", timeout_s=20) for number in range(50))
            return [found.id for found in await asyncio.gather(*waits)]

    assert asyncio.run(go()) == [f"job_{number}" for number in range(50)]


class Endless(httpx.AsyncByteStream):
    """A stream that says that it lives, and notes when it was closed."""

    def __init__(self) -> None:
        self.is_open = asyncio.Event()
        self.is_closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            self.is_open.set()
            yield b": still here\n\n"
            await asyncio.sleep(0.001)

    async def aclose(self) -> None:
        self.is_closed = True


def test_a_wait_that_is_cancelled_closes_its_stream() -> None:
    stream = Endless()

    async def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/stream"):
            return httpx.Response(200, headers={"Content-Type": "text/event-stream"}, stream=stream)
        return httpx.Response(200, json=job(state="running"))

    async def go() -> None:
        async with client_on(httpx.MockTransport(answer)) as client:
            waiting = asyncio.create_task(client.jobs.wait("job_1"))
            await asyncio.wait_for(stream.is_open.wait(), 10)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(waiting, 5)
            assert stream.is_closed
            assert others() == set()

    asyncio.run(go())


def test_a_follower_that_stops_early_closes_its_stream() -> None:
    stream = Endless()

    async def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"Content-Type": "text/event-stream"}, stream=stream)

    async def go() -> None:
        async with client_on(httpx.MockTransport(answer)) as client:
            following = client.jobs.follow("job_1")
            first = asyncio.ensure_future(anext(following))
            await asyncio.wait_for(stream.is_open.wait(), 10)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            await following.aclose()
            assert stream.is_closed

    asyncio.run(go())


def test_a_pause_between_tries_lets_others_run() -> None:
    service = FakeService(problem(503, "busy", headers={"Retry-After": "1"}), FINISHED)

    async def go() -> tuple[str, int]:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.01)

        async with client_on(service) as client:
            ticking = asyncio.create_task(tick())
            found = await client.jobs.get("job_1")
            ticking.cancel()
        return found.state, ticks

    state, ticks = asyncio.run(go())
    assert state == "succeeded"
    assert ticks > 3
