"""Following a job: what is asked again, what is dropped, and when the stream is left for polling."""

import json
from collections.abc import AsyncIterator, Callable, Iterator

import httpx
import pytest

from cleanclip.errors import NotFound
from cleanclip.sync.following import SILENCE_S
from tests.unit.cleanclip.service import FakeClock, client_on, job, problem

BOTH_CLIENTS = True

HERE = "/v1/jobs/job_1"


def event(seq: int) -> dict[str, object]:
    return {"object": "event", "seq": seq, "job_id": "job_1", "type": "noted", "data": {"n": seq}}


def numbered(*seqs: int) -> bytes:
    return b"".join(f"id: {seq}\nevent: noted\ndata: {json.dumps(event(seq))}\n\n".encode() for seq in seqs)


def standing(**changes: object) -> bytes:
    state = job(**changes)
    name = "done" if state["state"] in {"succeeded", "failed", "cancelled"} else "job"
    return f"event: {name}\ndata: {json.dumps(state)}\n\n".encode()


BEAT = b": still here\n\n"
DONE = standing(state="succeeded", etag="job_1.9")


class Pieces(httpx.SyncByteStream, httpx.AsyncByteStream):
    """Chunks that come one after the other, then a clean end or an error."""

    def __init__(self, *pieces: bytes | Exception) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self:
            yield piece


def stream(*pieces: bytes | Exception) -> httpx.Response:
    return httpx.Response(200, headers={"Content-Type": "text/event-stream"}, stream=Pieces(*pieces))


Stream = httpx.Response | Exception | Callable[[], httpx.Response]


class Service(httpx.MockTransport):
    """Streams one after the other, the last one for ever, and a job that has ended to be polled."""

    def __init__(self, *streams: Stream) -> None:
        super().__init__(self._handle)
        self._streams = list(streams)
        self.begun_after: list[str] = []
        self.num_polls = 0

    def _handle(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == f"{HERE}/events/stream":
            self.begun_after.append(request.headers["last-event-id"])
            answer = self._streams.pop(0) if len(self._streams) > 1 else self._streams[0]
            if isinstance(answer, Exception):
                raise answer
            return answer() if callable(answer) else answer
        self.num_polls += 1
        if request.url.path == f"{HERE}/events":
            after = int(request.url.params["after"])
            data = [event(seq) for seq in (1, 2, 3) if seq > after]
            last = data[-1]["seq"] if data else None
            return httpx.Response(200, json={"data": data, "has_more": False, "last_seq": last})
        return httpx.Response(200, json=job(state="succeeded", etag="job_1.9"), headers={"ETag": '"job_1.9"'})


def followed(service: Service, clock: FakeClock | None = None) -> list[int]:
    with client_on(service, clock) as client:
        return [found.seq for found in client.jobs.follow("job_1")]


def broken() -> Exception:
    return httpx.RemoteProtocolError("peer closed connection")


def test_a_broken_stream_is_taken_up_after_the_last_event_that_came() -> None:
    service = Service(stream(numbered(1, 2), broken()), broken(), stream(BEAT), stream(numbered(3), DONE))
    assert followed(service) == [1, 2, 3]
    assert service.begun_after == ["0", "2", "2", "2"]
    assert service.num_polls == 0


def test_an_event_that_comes_twice_is_given_once_and_a_missing_one_is_asked_for() -> None:
    service = Service(stream(numbered(1, 1, 3)), stream(numbered(1, 2, 3), DONE))
    assert followed(service) == [1, 2, 3]
    assert service.begun_after == ["0", "1"]


@pytest.mark.parametrize(
    "refusal",
    [
        problem(404, "route_not_found"),
        problem(429, "too_many_streams"),
        problem(406, "http_error"),
        httpx.Response(200, json={"a": "page of a proxy"}),
        httpx.Response(302, headers={"Location": "https://login.example.org"}),
    ],
)
def test_where_the_stream_is_refused_events_are_polled(refusal: httpx.Response) -> None:
    service = Service(refusal)
    assert followed(service) == [1, 2, 3]
    assert len(service.begun_after) == 1


def test_where_a_proxy_breaks_every_stream_events_are_polled_from_the_last_one_on() -> None:
    service = Service(stream(numbered(1), broken()), lambda: stream(BEAT, broken()))
    assert followed(service) == [1, 2, 3]
    assert service.begun_after == ["0"] + ["1"] * 5
    assert service.num_polls == 2


def test_where_a_proxy_keeps_everything_back_one_silence_is_enough() -> None:
    clock = FakeClock()

    def silence() -> httpx.Response:
        clock.time_s += SILENCE_S
        raise httpx.ReadTimeout("silence")

    service = Service(silence)
    assert followed(service, clock) == [1, 2, 3]
    assert service.begun_after == ["0"]


def test_nonsense_instead_of_events_is_polled_around() -> None:
    assert followed(Service(stream(b"id: 1\nevent: noted\ndata: {not json\n\n"))) == [1, 2, 3]


def test_an_event_with_more_parts_than_any_is_not_read() -> None:
    service = Service(stream(numbered(1) + standing(later=[[]] * 100_000) + numbered(2, 3) + DONE))
    assert followed(service) == [1, 2, 3]
    assert service.num_polls, "the stream was left"


def test_a_job_that_is_not_there_is_said_to_be_so() -> None:
    with pytest.raises(NotFound):
        followed(Service(problem(404, "job_not_found")))


def test_who_waits_is_told_every_change_over_the_stream_and_nothing_twice() -> None:
    states = [standing(etag="job_1.0"), standing(state="running", etag="job_1.1"), numbered(1)]
    service = Service(stream(*states, standing(state="running", etag="job_1.1")), stream(DONE))
    first = httpx.Response(200, json=job(), headers={"ETag": '"job_1.0"'})
    polls = service._handle

    def handle(request: httpx.Request) -> httpx.Response:
        return first if request.url.path == HERE else polls(request)

    service.handler = handle
    seen: list[str] = []
    with client_on(service) as client:
        found = client.jobs.wait("job_1", on_progress=lambda one: seen.append(one.state))
    assert (found.state, seen) == ("succeeded", ["queued", "running", "succeeded"])
    assert service.begun_after == ["0", "1"]


def test_a_client_holds_sixteen_streams_open_and_polls_for_the_rest() -> None:
    service = Service(lambda: stream(numbered(1), BEAT, DONE))
    with client_on(service) as client:
        held = [iter(client.jobs.follow("job_1")) for _ in range(16)]
        assert [next(one).seq for one in held] == [1] * 16
        assert [found.seq for found in client.jobs.follow("job_1")] == [1, 2, 3]
        assert len(service.begun_after) == 16
        assert list(held[0]) == []
        assert [found.seq for found in client.jobs.follow("job_1")] == [1], "a place is free again"
