"""What a peer without a key can do with bare connections: too much, too slow, too many, too odd."""

import itertools
import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from starlette.responses import Response

from app.main import create_app
from app.settings import Settings
from app.storage.s3 import S3Store
from lab.drills.connections import ENDLESS, HEAD, send
from tests.fakes.job_publisher import FakeJobPublisher
from tests.integration.api.service import MIB, running

KERNEL_MIB = 16
"""What both sides of a loopback connection may keep at most of bytes that nobody reads."""
BIG = 32 * MIB


class Server:
    """A served application that needs neither database nor store."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.address = (urlsplit(url).hostname or "", urlsplit(url).port or 0)

    def connect(self, first: bytes = b"") -> socket.socket:
        one = socket.create_connection(self.address, timeout=20)
        one.sendall(first)
        return one

    def ask(self, *pieces: bytes) -> bytes:
        """All that comes back for what is sent, until the server ends the connection."""
        with self.connect() as one:
            return send(one, pieces)[1]

    def is_well(self) -> bool:
        return httpx.get(f"{self.url}/healthz", timeout=20).status_code == 200


def code_of(answer: bytes) -> tuple[int, str]:
    """Status and code, after checking that the answer is a whole problem and the last one."""
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    assert b"content-type: application/problem+json" in lines, answer
    assert b"connection: close" in lines
    problem = json.loads(body)
    assert f"x-request-id: {problem['request_id']}".encode() in lines
    assert problem["remedy"]
    return int(head.split()[1]), problem["code"]


@contextmanager
def served(
    settings: Settings, store: S3Store, *, api: dict[str, Any] | None = None, **limits: Any
) -> Iterator[Server]:
    limited = settings.model_copy(
        update={
            "connections": settings.connections.model_copy(update=limits),
            "api": settings.api.model_copy(update=api or {}),
        }
    )
    app = create_app(limited, store=store, publisher=FakeJobPublisher())
    app.add_api_route("/big", lambda: Response(b"x" * BIG))
    app.add_route("/host", lambda request: Response(str(request.url)))
    with running(app) as url:
        yield Server(url)


@pytest.fixture(scope="module")
def server(service_settings: Settings, object_store: S3Store) -> Iterator[Server]:
    """Impatient, but with the default limits in bytes and numbers."""
    with served(service_settings, object_store, head_timeout_s=0.4, keep_alive_s=1) as one:
        yield one


@pytest.mark.parametrize("where", ENDLESS)
def test_what_has_no_end_is_cut_at_the_limit(server: Server, where: str) -> None:
    with server.connect() as one:
        num_sent, answer = send(one, ENDLESS[where](128 * MIB))
    assert num_sent < KERNEL_MIB * MIB
    if not answer.startswith(b"HTTP/1.1 401"):  # of a body's end: the stranger may be answered before it
        assert code_of(answer) == (431, "head_too_large")
    assert server.is_well()


def test_as_many_headers_as_the_limit_are_read_and_no_more(server: Server) -> None:
    lines = b"".join(b"X-%d: 1\r\n" % number for number in range(98))
    assert server.ask(HEAD + lines + b"Connection: close\r\n\r\n").startswith(b"HTTP/1.1 200")
    assert code_of(server.ask(HEAD + lines + b"X: 1\r\nConnection: close\r\n\r\n")) == (431, "head_too_large")
    assert code_of(server.ask(HEAD + b"a: b\r\n" * 100_000 + b"\r\n")) == (431, "head_too_large")


def test_a_head_just_under_the_limit_is_read_however_it_is_cut(server: Server) -> None:
    under, over = (HEAD + b"X: " + b"v" * n + b"\r\nConnection: close\r\n\r\n" for n in (32_600, 32_800))
    assert server.ask(under).startswith(b"HTTP/1.1 200")
    assert server.ask(*(under[n : n + 1000] for n in range(0, len(under), 1000))).startswith(b"HTTP/1.1 200")
    assert code_of(server.ask(over)) == (431, "head_too_large")


def test_a_head_that_is_not_finished_in_time_is_not_waited_for(server: Server) -> None:
    assert code_of(server.ask(HEAD)) == (408, "head_too_slow")
    with server.connect(HEAD) as one:  # a byte now and then changes nothing
        pieces = (time.sleep(0.1) or b"x" for _ in range(100))  # type: ignore[func-returns-value]
        num_sent, answer = send(one, pieces)
    assert num_sent < 50
    assert code_of(answer) == (408, "head_too_slow")


def test_a_connection_that_never_asks_is_closed(server: Server) -> None:
    assert server.ask() == b""


def test_a_connection_that_asks_again_and_again_is_kept(server: Server) -> None:
    with httpx.Client(base_url=server.url) as client, server.connect() as one:
        for _ in range(8):
            assert client.get("/healthz").status_code == 200
            one.sendall(HEAD + b"\r\n")
            answer = one.recv(4096)
            while not answer.endswith(b'{"status":"ok"}'):  # head and body may come apart
                more = one.recv(4096)
                assert more, "the connection was closed"
                answer += more
            assert answer.startswith(b"HTTP/1.1 200")
            time.sleep(0.1)  # together longer than any head may take


def test_what_is_not_http_is_a_problem(server: Server) -> None:
    for nonsense in (
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        HEAD + b": x\r\n\r\n",
    ):
        assert code_of(server.ask(nonsense)) == (400, "bad_request")


_ASKED = b"GET /healthz HTTP/1.1\r\nConnection: close\r\n"


@pytest.mark.parametrize(
    "head",
    [
        _ASKED,
        _ASKED + b"Host: here\r\nHost: here\r\n",
        _ASKED + b"Host: here\r\nhost: there\r\n",
        *(
            _ASKED + b"Host: " + bad + b"\r\n"
            for bad in (b"a b", b"a/b", b"u@a", b"a:b", b"a, b:1:2", b"\xff")
        ),
        _ASKED.replace(b"1.1", b"1.0") + b"Host: here\r\nHost: here\r\n",
        _ASKED.replace(b"/healthz", b"http://here/healthz"),
    ],
)
def test_a_request_without_one_valid_host_is_refused(server: Server, head: bytes) -> None:
    assert code_of(server.ask(head + b"\r\n")) == (400, "bad_request")


@pytest.mark.parametrize(
    "head",
    [
        _ASKED.replace(b"1.1", b"1.0"),
        *(_ASKED + b"Host: " + good + b"\r\n" for good in (b"", b"a.example:8000", b"[::1]:80", b"a_b%20")),
        _ASKED.replace(b"/healthz", b"http://here:1/healthz") + b"Host: there\r\n",
    ],
)
def test_a_request_with_a_valid_host_is_answered(server: Server, head: bytes) -> None:
    assert server.ask(head + b"\r\n").startswith(b"HTTP/1.1 200")


def test_the_host_of_an_absolute_target_counts(server: Server) -> None:
    head = _ASKED.replace(b"/healthz", b"http://u@here:1/host?a") + b"Host: there\r\n"
    assert server.ask(head + b"\r\n").endswith(b"http://here:1/host?a")
    assert server.ask(_ASKED.replace(b"/healthz", b"/host") + b"Host: x\r\n\r\n").endswith(b"http://x/host")


def test_the_rest_of_a_body_that_was_answered_is_not_waited_for(server: Server) -> None:
    with server.connect(HEAD + b"Content-Length: 1000\r\n\r\n") as one:
        pieces = (time.sleep(0.1) or b"x" for _ in range(100))  # type: ignore[func-returns-value]
        num_sent, answer = send(one, pieces)
    assert answer.startswith(b"HTTP/1.1 200")
    assert num_sent < 60


def test_a_body_that_was_answered_is_not_read_for_ever(server: Server) -> None:
    with server.connect(HEAD + b"Content-Length: 1000000000\r\n\r\n") as one:
        num_sent, _ = send(one, itertools.repeat(b"x" * 65536, 1000 * 16))
    assert num_sent < (16 + KERNEL_MIB) * MIB
    assert server.is_well()


def test_of_many_requests_at_once_a_few_are_answered(server: Server) -> None:
    answer = server.ask((HEAD + b"\r\n") * 20_000)
    assert 1 <= answer.count(b"HTTP/1.1 200") <= 20
    assert server.is_well()
    few = server.ask((HEAD + b"\r\n") * 3 + HEAD + b"Connection: close\r\n\r\n")
    assert few.count(b"HTTP/1.1 200") == 4


@pytest.mark.parametrize("other", [b"websocket", b"h2c", b"TLS/1.0"])
def test_another_protocol_is_not_spoken(server: Server, other: bytes) -> None:
    ask = HEAD + b"Connection: Upgrade\r\nUpgrade: " + other + b"\r\nSec-WebSocket-Version: 13\r\n\r\n"
    answer = server.ask(ask, b"what comes then is not read" * 1000)
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in answer.lower()


def test_a_client_that_takes_nothing_of_a_big_answer_loses_its_connection(
    service_settings: Settings, object_store: S3Store
) -> None:
    with (
        served(service_settings, object_store, api={"send_timeout_s": 0.3}, head_timeout_s=1) as server,
        server.connect(b"GET /big HTTP/1.1\r\nHost: here\r\n\r\n") as one,
    ):
        time.sleep(1.5)
        assert len(send(one, ())[1]) < BIG


def test_a_client_that_takes_a_big_answer_slowly_gets_it(
    service_settings: Settings, object_store: S3Store
) -> None:
    with (
        served(service_settings, object_store, api={"send_timeout_s": 0.3}, head_timeout_s=1) as server,
        server.connect(b"GET /big HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n") as one,
    ):
        num_bytes = 0
        while received := one.recv(2 * MIB, socket.MSG_WAITALL):
            num_bytes += len(received)
            time.sleep(0.1)
    assert num_bytes > BIG


def test_an_address_has_so_many_connections_and_no_more(
    service_settings: Settings, object_store: S3Store
) -> None:
    with served(service_settings, object_store, max_per_address=3) as server:
        held = [server.connect() for _ in range(3)]
        assert code_of(server.ask(HEAD + b"\r\n")) == (429, "too_many_connections")
        held[0].sendall(HEAD + b"\r\n")
        assert held[0].recv(4096).startswith(b"HTTP/1.1 200")
        held.pop().close()
        while server.ask(HEAD + b"Connection: close\r\n\r\n").startswith(b"HTTP/1.1 429"):
            time.sleep(0.01)
        for one in held:
            one.close()


def test_a_trusted_proxy_has_as_many_as_it_needs(service_settings: Settings, object_store: S3Store) -> None:
    with (
        served(
            service_settings, object_store, api={"trusted_proxies": ("127.0.0.0/8",)}, max_per_address=3
        ) as server,
        ExitStack() as held,
    ):
        for _ in range(8):
            held.enter_context(server.connect())
        assert server.is_well()


def test_who_asks_finds_a_place_when_idle_connections_have_taken_all(
    service_settings: Settings, object_store: S3Store
) -> None:
    with (
        served(service_settings, object_store, max_open=16, max_per_address=0) as server,
        ExitStack() as held,
    ):
        flood = [held.enter_context(server.connect(HEAD)) for _ in range(50)]
        for _ in range(5):
            assert server.is_well()
        ended = [one for one in flood[:30] if code_of(send(one, ())[1]) == (503, "connections_busy")]
        assert len(ended) == 30
        metrics = httpx.get(f"{server.url}/metrics").text
    assert "cleanclip_connections 16.0" in metrics
    assert 'cleanclip_connections_ended_total{reason="gave_way"} ' in metrics
