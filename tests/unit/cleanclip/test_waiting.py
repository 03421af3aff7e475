"""Polling: what is asked, how often, and what an outage in the middle does."""

import httpx
import pytest

from cleanclip.errors import JobFailed, NotFound, TransportError, Undecided, UnexpectedAnswer, WaitTimeout
from cleanclip.models import Job
from cleanclip.sync.waiting import LONGEST_PAUSE_S, PATIENCE_S
from tests.unit.cleanclip.service import FakeClock, FakeService, client_on, job, problem

BOTH_CLIENTS = True

REQUEST = httpx.Request("GET", "https://clean.example.org")
SILENT = httpx.ConnectError("refused", request=REQUEST)


def answered(etag: str, **changes: object) -> httpx.Response:
    return httpx.Response(200, json=job(**changes), headers={"ETag": f'"{etag}"'})


def test_a_poll_sends_the_last_etag_and_tells_changes_only() -> None:
    service = FakeService(
        answered("a"),
        httpx.Response(304),
        answered("b", state="running"),
        httpx.Response(304),
        answered("c", state="succeeded"),
    )
    seen: list[Job] = []
    with client_on(service) as client:
        client.jobs.wait("job_1", on_progress=seen.append)
    assert [request.headers.get("if-none-match") for request in service.requests] == [
        None,
        '"a"',
        '"a"',
        '"b"',
        '"b"',
    ]
    assert [found.state for found in seen] == ["queued", "running", "succeeded"]


def test_polls_slow_down_while_nothing_changes_and_speed_up_again() -> None:
    clock = FakeClock()
    service = FakeService(
        answered("a"),
        *[httpx.Response(304)] * 8,
        answered("b", state="running"),
        answered("c", state="succeeded"),
    )
    with client_on(service, clock) as client:
        client.jobs.wait("job_1")
    assert clock.slept[0] == 0.5
    assert clock.slept[:9] == sorted(clock.slept[:9])
    assert max(clock.slept) == LONGEST_PAUSE_S
    assert clock.slept[-1] == 0.5


def test_retry_after_of_a_poll_is_obeyed() -> None:
    clock = FakeClock()
    first = answered("a")
    first.headers["Retry-After"] = "9"
    with client_on(FakeService(first, answered("b", state="succeeded")), clock) as client:
        client.jobs.wait("job_1")
    assert clock.slept == [9.0]


def test_an_outage_in_the_middle_is_sat_out() -> None:
    clock = FakeClock()
    service = FakeService(answered("a"), *[SILENT] * 40, answered("b", state="succeeded"))
    with client_on(service, clock) as client:
        assert client.jobs.wait("job_1").state == "succeeded"
    assert sum(clock.slept) < PATIENCE_S


def test_an_outage_that_does_not_end_is_reported() -> None:
    clock = FakeClock()
    with client_on(FakeService(answered("a"), SILENT), clock) as client, pytest.raises(TransportError):
        client.jobs.wait("job_1")
    assert PATIENCE_S < sum(clock.slept) < 2 * PATIENCE_S


def test_a_service_that_was_never_there_is_reported_soon() -> None:
    clock = FakeClock()
    with client_on(FakeService(SILENT), clock) as client, pytest.raises(TransportError):
        client.jobs.wait("job_1")
    assert sum(clock.slept) < 10


def test_a_thing_that_vanishes_or_an_answer_that_is_none_ends_the_wait() -> None:
    with (
        client_on(FakeService(answered("a"), problem(404, "job_not_found"))) as client,
        pytest.raises(NotFound),
    ):
        client.jobs.wait("job_1")
    with (
        client_on(FakeService(answered("a"), httpx.Response(200, content=b"<html>"))) as client,
        pytest.raises(UnexpectedAnswer),
    ):
        client.jobs.wait("job_1")


def test_the_time_limit_is_kept_to_the_second() -> None:
    clock = FakeClock()
    started = clock.time_s
    with (
        client_on(FakeService(answered("a"), httpx.Response(304)), clock) as client,
        pytest.raises(WaitTimeout, match="still queued after 30 s") as caught,
    ):
        client.jobs.wait("job_1", timeout_s=30)
    assert clock.time_s - started == pytest.approx(30)
    assert caught.value.last.id == "job_1"


def test_a_paused_job_is_waited_for() -> None:
    service = FakeService(answered("a", state="paused"), answered("b"), answered("c", state="succeeded"))
    with client_on(service) as client:
        assert client.jobs.wait("job_1").state == "succeeded"


def test_a_failure_carries_the_job() -> None:
    error = {"code": "out_of_memory", "detail": "Too large.", "remedy": "Use chunk_size.", "retryable": False}
    with (
        client_on(FakeService(answered("a", state="failed", error=error))) as client,
        pytest.raises(JobFailed, match=r"job_1 failed: Too large\. Use chunk_size\.") as caught,
    ):
        client.jobs.wait("job_1")
    assert caught.value.code == "out_of_memory"


def test_all_events_are_read_page_after_page() -> None:
    def page(first: int, last: int, *, has_more: bool) -> httpx.Response:
        data = [
            {"seq": seq, "job_id": "job_1", "type": "noted", "data": {}} for seq in range(first, last + 1)
        ]
        body = {"object": "list", "data": data, "has_more": has_more, "first_seq": first, "last_seq": last}
        return httpx.Response(200, json=body)

    service = FakeService(page(1, 3, has_more=True), page(4, 5, has_more=False))
    with client_on(service) as client:
        assert [event.seq for event in client.jobs.all_events("job_1")] == [1, 2, 3, 4, 5]
    assert service.requests[1].url.params["after"] == "3"


@pytest.mark.parametrize("kind", ["checkpoints", "datasets"])
def test_what_the_service_gave_up_reading_is_not_waited_for_and_not_called_rejected(kind: str) -> None:
    error = {"code": "worker_lost", "detail": "The worker was lost.", "remedy": "Ask the operator."}
    state = {"checkpoints": "scanning", "datasets": "validating"}[kind]
    service = FakeService(
        httpx.Response(200, json={"id": "x_1", "kind": "pairs", "state": state, "error": error})
    )
    with client_on(service) as client, pytest.raises(Undecided, match="was not read: The worker") as caught:
        getattr(client, kind).wait("x_1")
    assert caught.value.code == "worker_lost"
