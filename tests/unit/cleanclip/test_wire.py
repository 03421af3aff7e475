"""Retries, idempotency keys and problems: one request at a time, on a transport that misbehaves."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest

from cleanclip.errors import (
    ApiError,
    Conflict,
    Forbidden,
    InvalidInput,
    NotFound,
    RateLimited,
    ServerError,
    TransportError,
    Unauthorized,
    UnexpectedAnswer,
)
from cleanclip.retries import Retries, parse_retry_after
from cleanclip.sync.client import Client
from tests.unit.cleanclip.service import KEY, FakeClock, FakeService, client_on, job, problem

BOTH_CLIENTS = True

REQUEST = httpx.Request("GET", "https://clean.example.org")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidInput),
        (401, Unauthorized),
        (403, Forbidden),
        (404, NotFound),
        (409, Conflict),
        (413, InvalidInput),
        (415, InvalidInput),
        (418, ApiError),
        (422, InvalidInput),
        (429, RateLimited),
        (500, ServerError),
        (503, ServerError),
    ],
)
def test_each_status_has_its_class(status: int, kind: type[ApiError]) -> None:
    service = FakeService(problem(status, "some_code"))
    with client_on(service) as client, pytest.raises(kind) as caught:
        client.jobs.get("job_1")
    assert type(caught.value) is kind
    assert (caught.value.status, caught.value.code, caught.value.request_id) == (status, "some_code", "req_1")
    assert str(caught.value) == "It cannot be done. Do something else."


def test_the_pointers_of_a_problem_are_kept() -> None:
    errors = [{"pointer": "/audit/target", "detail": "No such class."}, {"parameter": "limit", "detail": "!"}]
    with (
        client_on(FakeService(problem(422, "invalid_request", errors=errors))) as client,
        pytest.raises(InvalidInput) as caught,
    ):
        client.jobs.list()
    assert [(item.pointer, item.parameter) for item in caught.value.errors] == [
        ("/audit/target", None),
        (None, "limit"),
    ]


@pytest.mark.parametrize("body", [b"<html>Bad gateway</html>", b"", b"[1, 2]", b'{"errors": "none"}'])
def test_a_refusal_that_is_no_problem_document_is_still_a_refusal(body: bytes) -> None:
    with (
        client_on(FakeService(httpx.Response(409, content=body))) as client,
        pytest.raises(Conflict) as caught,
    ):
        client.jobs.get("job_1")
    assert caught.value.code == "http_409"


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_what_passes_is_tried_again_with_growing_pauses(status: int) -> None:
    clock = FakeClock()
    service = FakeService(*[httpx.Response(status)] * 3, httpx.Response(200, json=job()))
    with client_on(service, clock) as client:
        assert client.jobs.get("job_1").id == "job_1"
    assert clock.slept == [0.5, 1.0, 2.0]


@pytest.mark.parametrize("status", [400, 401, 404, 409, 422, 500])
def test_what_does_not_pass_is_not_tried_again(status: int) -> None:
    service = FakeService(problem(status, "no"))
    with client_on(service) as client, pytest.raises(ApiError):
        client.jobs.get("job_1")
    assert len(service.requests) == 1


@pytest.mark.parametrize(
    "error",
    [
        httpx.ConnectError("refused", request=REQUEST),
        httpx.ReadTimeout("late", request=REQUEST),
        httpx.RemoteProtocolError("cut", request=REQUEST),
    ],
)
def test_a_silent_service_is_given_up_after_all_tries(error: httpx.TransportError) -> None:
    service = FakeService(error)
    with client_on(service) as client, pytest.raises(TransportError, match=r"clean\.example\.org") as caught:
        client.jobs.get("job_1")
    assert len(service.requests) == 4
    assert KEY not in str(caught.value)


def test_retry_after_is_obeyed_when_it_is_longer_than_the_pause() -> None:
    clock = FakeClock()
    service = FakeService(
        httpx.Response(429, headers={"Retry-After": "7"}),
        httpx.Response(503, headers={"Retry-After": "0"}),
        httpx.Response(200, json=job()),
    )
    with client_on(service, clock) as client:
        client.jobs.get("job_1")
    assert clock.slept == [7.0, 1.0]


def test_a_retry_after_of_an_hour_is_reported_and_not_waited_for() -> None:
    clock = FakeClock()
    service = FakeService(problem(429, "quota_exceeded", headers={"Retry-After": "3600"}))
    with client_on(service, clock) as client, pytest.raises(RateLimited) as caught:
        client.jobs.get("job_1")
    assert clock.slept == []
    assert caught.value.retry_after_s == 3600.0


def test_a_post_keeps_its_idempotency_key_over_its_retries_and_takes_a_new_one_each_time() -> None:
    service = FakeService(
        httpx.ReadError("cut", request=REQUEST), httpx.Response(502), httpx.Response(202, json=job())
    )
    with client_on(service) as client:
        client.jobs.create(kind="audit", checkpoint_id="ckpt_1", audit={"dataset_id": "ds_1", "target": "x"})
        client.jobs.cancel("job_1")
    keys = [request.headers["idempotency-key"] for request in service.requests]
    assert len(keys) == 4
    assert len(set(keys[:3])) == 1
    assert keys[3] != keys[0]
    assert service.requests[0].content == service.requests[2].content


def test_a_first_request_that_is_still_being_handled_is_waited_for() -> None:
    service = FakeService(
        problem(409, "idempotency_key_in_flight", headers={"Retry-After": "1"}),
        httpx.Response(202, json=job()),
    )
    with client_on(service) as client:
        assert client.jobs.cancel("job_1").id == "job_1"


def test_an_idempotency_key_of_ones_own_is_sent() -> None:
    service = FakeService(httpx.Response(202, json=job()))
    with client_on(service) as client:
        client.jobs.create(kind="audit", checkpoint_id="c", audit={"target": "x"}, idempotency_key="mine-1")
    assert service.requests[0].headers["idempotency-key"] == "mine-1"


def test_a_share_that_is_used_up_is_told_at_once_and_a_rate_is_waited_for() -> None:
    quota = {"name": "waiting_jobs", "limit": 3, "current": 3, "wanted": 1}
    clock = FakeClock()
    used_up = FakeService(problem(429, "quota_exceeded", headers={"Retry-After": "60"}, quota=quota))
    with client_on(used_up, clock) as client, pytest.raises(RateLimited) as caught:
        client.jobs.get("job_1")
    assert caught.value.code == "quota_exceeded"
    assert clock.slept == []
    limited = FakeService(
        problem(429, "rate_limited", headers={"Retry-After": "7"}), httpx.Response(200, json=job())
    )
    with client_on(limited, clock) as client:
        assert client.jobs.get("job_1").id == "job_1"
    assert clock.slept == [7.0]


def test_a_deletion_names_its_receipt() -> None:
    body = {"id": "del_1", "state": "pending", "subject": "job", "subject_id": "job_1"}
    with client_on(FakeService(httpx.Response(202, json=body))) as client:
        found = client.jobs.delete("job_1")
    assert found is not None
    assert found.id == "del_1"


def test_a_deletion_whose_answer_was_lost_is_not_reported_as_not_found() -> None:
    service = FakeService(httpx.ReadError("cut", request=REQUEST), problem(404, "checkpoint_not_found"))
    with client_on(service) as client:
        client.checkpoints.delete("ckpt_1")
    assert len(service.requests) == 2
    with client_on(FakeService(problem(404, "checkpoint_not_found"))) as client, pytest.raises(NotFound):
        client.checkpoints.delete("ckpt_1")


@pytest.mark.parametrize("body", [b"<html>Welcome</html>", b"{}", b"[]"])
def test_another_service_at_the_address_is_noticed(body: bytes) -> None:
    with (
        client_on(FakeService(httpx.Response(200, content=body))) as client,
        pytest.raises(UnexpectedAnswer, match="Check the address"),
    ):
        client.jobs.get("job_1")


def test_an_answer_with_more_parts_than_any_of_the_service_is_not_read() -> None:
    body = job(later=[[]] * 100_000)
    with client_on(FakeService(httpx.Response(200, json=body))) as client, pytest.raises(UnexpectedAnswer):
        client.jobs.get("job_1")


def test_fields_and_states_of_a_newer_service_are_tolerated_and_kept() -> None:
    newer = job(state="dreaming", colour="red", progress={"fraction": None, "mood": 3})
    with client_on(FakeService(httpx.Response(200, json=newer))) as client:
        found = client.jobs.get("job_1")
    assert found.state == "dreaming"
    assert not found.is_finished
    assert found.to_json()["colour"] == "red"
    assert found.to_json()["progress"]["mood"] == 3


def test_only_what_was_said_is_sent() -> None:
    service = FakeService(httpx.Response(202, json=job()))
    with client_on(service) as client:
        client.jobs.create(kind="audit", checkpoint_id="ckpt_1", audit={"target": "x"}, seed=0)
    assert service.requests[0].content == (
        b'{"kind": "audit", "checkpoint_id": "ckpt_1", "audit": {"target": "x"}, "seed": 0}'
    )
    assert service.requests[0].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("address", ["", "clean.example.org", "ftp://x", "http://", "http://[", "/v1"])
def test_an_address_that_is_none_is_refused_at_once(address: str) -> None:
    with pytest.raises(ValueError, match="is not an address"):
        Client(address, KEY)


@pytest.mark.parametrize("key", ["", "  ", "two words", "line\nbreak", "schlüssel"])
def test_a_key_that_cannot_be_sent_is_refused_at_once(key: str) -> None:
    with pytest.raises(ValueError, match="API key"):
        Client("http://x", key)


def test_a_path_before_the_routes_is_kept() -> None:
    service = FakeService(httpx.Response(200, json=job()))
    with Client("https://example.org/clean/", KEY, transport=service) as client:
        client.jobs.get("job_1")
    assert str(service.requests[0].url) == "https://example.org/clean/v1/jobs/job_1"


def test_pauses_double_up_to_the_longest_and_jitter_takes_at_most_half() -> None:
    longest = Retries(max_tries=9, base_s=1.0, max_s=20.0, jitter=lambda: 1.0)
    assert [longest.pause_s(n) for n in range(1, 10)] == [1, 2, 4, 8, 16, 20, 20, 20, None]
    shortest = Retries(base_s=1.0, jitter=lambda: 0.0)
    assert shortest.pause_s(3) == 2.0


def test_retry_after_is_read_in_both_forms() -> None:
    assert parse_retry_after("12") == 12.0
    later = parse_retry_after(format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True))
    assert later is not None
    assert 27 < later <= 30
    assert parse_retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
    assert parse_retry_after("soon") is None
    assert parse_retry_after(None) is None
