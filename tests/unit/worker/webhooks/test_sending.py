"""One try against real servers that behave well or badly, and what is made of their answers."""

import socket
import time
from collections.abc import Iterator

import pytest

from app.domain.webhook_messages import DeliveryError
from tests.fakes.webhook_receiver import Receiver, answering, dripping, sleeping
from tests.unit.worker.webhooks.trying import BODY, HEADERS, sender
from worker.webhooks.sending import MAX_EXCERPT_CHARACTERS


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_is_success_and_the_body_arrives_as_it_was(receiver: Receiver, status: int) -> None:
    receiver.behaves(answering(status))
    answer = sender().post(receiver.url + "?a=b", HEADERS, BODY)
    assert (answer.error, answer.status, answer.excerpt) == (None, status, None)
    (message,) = receiver.messages
    assert (message.path, message.body) == ("/hook?a=b", BODY)
    assert message.headers["content-type"] == "application/json"
    assert message.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert message.headers["webhook-id"] == "msg_1"
    assert "cookie" not in message.headers
    assert "authorization" not in message.headers


@pytest.mark.parametrize("status", [400, 401, 404, 410, 429, 500, 503])
def test_every_other_status_is_a_refusal_with_the_beginning_of_what_was_said(
    receiver: Receiver, status: int
) -> None:
    said = b"no \x1b[31mthanks\x00\r\n\xff now " + "ü".encode() + b"x" * 9000
    receiver.behaves(answering(status, said))
    answer = sender().post(receiver.url, HEADERS, BODY)
    assert (answer.error, answer.status) == (DeliveryError.REFUSED, status)
    assert answer.excerpt is not None
    assert answer.excerpt.startswith("no [31mthanks \ufffd now üxxx")
    assert len(answer.excerpt) == MAX_EXCERPT_CHARACTERS
    assert answer.excerpt.isprintable()


def test_a_server_that_is_busy_may_say_for_how_long(receiver: Receiver) -> None:
    for given, expected in (
        ("120", 120.0),
        ("-1", 0.0),
        ("Wed, 21 Oct 2026 07:28:00 GMT", 0.0),
        ("9" * 30, 0.0),
    ):
        receiver.behaves(answering(503, Retry_After=given))
        assert sender().post(receiver.url, HEADERS, BODY).retry_after_s == expected
    receiver.behaves(answering(404, Retry_After="120"))
    assert sender().post(receiver.url, HEADERS, BODY).retry_after_s == 0.0


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(receiver: Receiver, status: int) -> None:
    with Receiver() as inside:
        receiver.behaves(answering(status, Location=inside.url))
        answer = sender().post(receiver.url, HEADERS, BODY)
        assert (answer.error, answer.status) == (DeliveryError.REDIRECTED, status)
        assert inside.messages == []


@pytest.mark.parametrize(
    "behave",
    [
        sleeping(3.0),
        dripping(b"HTTP/1.1 "),
        dripping(b"HTTP/1.1 200 OK\r\nX-Header: "),
        dripping(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 "),
    ],
    ids=["silent", "dripping status", "dripping headers", "dripping after 100"],
)
def test_a_slow_server_takes_no_longer_than_a_try_may(receiver: Receiver, behave: object) -> None:
    receiver.behaves(behave)  # type: ignore[arg-type]
    started_s = time.monotonic()
    answer = sender(timeout_s=0.6).post(receiver.url, HEADERS, BODY)
    assert (answer.error, answer.status) == (DeliveryError.TIMED_OUT, None)
    assert 0.5 < answer.took_s <= time.monotonic() - started_s < 10.0


def test_the_status_counts_whatever_becomes_of_the_body(receiver: Receiver) -> None:
    head = "HTTP/1.1 {} X\r\nContent-Length: 100000000000\r\n\r\n"
    receiver.behaves(dripping(head.format(200).encode()))
    started_s = time.monotonic()
    assert sender().post(receiver.url, HEADERS, BODY).error is None
    assert time.monotonic() - started_s < 4.0, "nobody waits for the body of a success"
    receiver.behaves(dripping(head.format(500).encode(), every_s=0.05))
    answer = sender(timeout_s=0.6).post(receiver.url, HEADERS, BODY)
    assert (answer.error, answer.status) == (DeliveryError.REFUSED, 500)
    assert set(answer.excerpt or "") == {"x"}
    assert answer.took_s < 5.0


def test_a_huge_answer_is_read_to_a_small_bound(receiver: Receiver) -> None:
    receiver.behaves(answering(500, b"x" * 50_000_000))
    answer = sender().post(receiver.url, HEADERS, BODY)
    assert (answer.status, answer.excerpt) == (500, "x" * MAX_EXCERPT_CHARACTERS)
    receiver.behaves(dripping(b"HTTP/1.1 200 OK\r\n" + b"X-Many: x\r\n" * 30_000, every_s=0.01))
    assert sender().post(receiver.url, HEADERS, BODY).error is DeliveryError.BAD_ANSWER


def test_an_answer_that_is_packed_stays_packed(receiver: Receiver) -> None:
    receiver.behaves(answering(500, b"\x1f\x8b\x08 bomb", Content_Encoding="gzip"))
    answer = sender().post(receiver.url, HEADERS, BODY)
    assert (answer.error, answer.excerpt) == (DeliveryError.REFUSED, "\ufffd bomb")
    assert receiver.messages[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    "said", [b"SSH-2.0-OpenSSH_9.2\r\n", b"\x00\x01\x02\r\n\r\n", b"HTTP/1.1 999999 X\r\n\r\n"]
)
def test_what_does_not_speak_http_is_a_bad_answer(receiver: Receiver, said: bytes) -> None:
    receiver.behaves(lambda handler: handler.wfile.write(said) and None)
    answer = sender(timeout_s=2.0).post(receiver.url, HEADERS, BODY)
    assert answer.error is DeliveryError.BAD_ANSWER


def test_a_server_that_hangs_up_or_is_not_there_is_told_so(receiver: Receiver) -> None:
    receiver.behaves(lambda handler: handler.connection.close())
    assert sender().post(receiver.url, HEADERS, BODY).error in {
        DeliveryError.BAD_ANSWER,  # closed without a word
        DeliveryError.NO_CONNECTION,  # reset
    }
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}/"
        assert sender().post(url, HEADERS, BODY).error is DeliveryError.NO_CONNECTION


def test_proxies_of_the_environment_are_not_asked(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Receiver() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert sender().post(receiver.url, HEADERS, BODY).error is None
        assert (len(receiver.messages), proxy.messages) == (1, [])
