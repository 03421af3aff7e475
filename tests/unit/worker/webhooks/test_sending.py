"""One try against real servers that behave well or badly, and names that lead where they must not."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from app.domain.webhook_urls import ReachRules
from app.domain.webhooks import DeliveryError
from tests.fakes.webhook_receiver import Receiver, answering, dripping, sleeping
from worker.webhooks import addresses
from worker.webhooks.sending import MAX_EXCERPT_CHARACTERS, Sender

HERE = ReachRules(allow_loopback=True)
HEADERS = {"webhook-id": "msg_1"}
BODY = b'{"type":"webhook.test"}'
NAME = "hooks.example.org"


class Names:
    """A resolver of our own: gives its answers one after the other, the last one for ever."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.num_asked = 0

    def __call__(self, host: str, port: int, timeout_s: float) -> Sequence[str]:
        self.num_asked += 1
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def sender(timeout_s: float = 5.0, **replaced: object) -> Sender:
    return Sender(HERE, timeout_s=timeout_s, **replaced)  # type: ignore[arg-type]


# ---------------------------------------------------------------- servers


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
    assert 0.5 < time.monotonic() - started_s < 2.0
    assert 0.5 < answer.took_s < 2.0


def test_the_status_counts_whatever_becomes_of_the_body(receiver: Receiver) -> None:
    head = "HTTP/1.1 {} X\r\nContent-Length: 100000000000\r\n\r\n"
    receiver.behaves(dripping(head.format(200).encode()))
    started_s = time.monotonic()
    assert sender().post(receiver.url, HEADERS, BODY).error is None
    assert time.monotonic() - started_s < 1.0, "nobody waits for the body of a success"
    receiver.behaves(dripping(head.format(500).encode(), every_s=0.05))
    answer = sender(timeout_s=0.6).post(receiver.url, HEADERS, BODY)
    assert (answer.error, answer.status) == (DeliveryError.REFUSED, 500)
    assert set(answer.excerpt or "") == {"x"}
    assert answer.took_s < 2.0


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


# ---------------------------------------------------------------- addresses


@pytest.mark.parametrize("scheme", ["https", "http"])
@pytest.mark.parametrize(
    "addresses",
    [
        ["10.0.0.1"],
        ["169.254.169.254"],
        ["::ffff:10.0.0.1"],
        ["64:ff9b::7f00:1"],
        ["fe80::1%1"],
        ["8.8.8.8", "10.0.0.1"],
        ["127.0.0.1", "8.8.8.8", "fd00:ec2::254"],
        [],
    ],
)
def test_a_name_with_any_address_that_is_not_public_is_connected_to_at_none(
    monkeypatch: pytest.MonkeyPatch, scheme: str, addresses: list[str]
) -> None:
    def connect(*_args: object, **_options: object) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket, "create_connection", connect)
    host = NAME if scheme == "https" else "localhost"
    rules = ReachRules(allow_loopback=scheme == "http")
    answer = Sender(rules, timeout_s=1.0, resolve_name=Names(addresses)).post(f"{scheme}://{host}/", {}, BODY)
    assert answer.error is DeliveryError.NO_PUBLIC_ADDRESS


@pytest.mark.parametrize(
    "url", ["https://127.0.0.1/", "https://[::1]/", "http://example.org/", "https://10.0.0.1/"]
)
def test_an_address_that_was_let_in_before_is_refused_when_it_is_sent_to(url: str) -> None:
    names = Names(["8.8.8.8"])
    answer = Sender(ReachRules(), timeout_s=1.0, resolve_name=names).post(url, {}, BODY)
    assert (answer.error, names.num_asked) == (DeliveryError.URL_REFUSED, 0)


def test_the_name_is_asked_once_so_that_it_cannot_lead_elsewhere_after_the_check(receiver: Receiver) -> None:
    names = Names(["127.0.0.1"], ["10.0.0.1"])
    url = f"http://localhost:{receiver.port}/"
    assert sender(resolve_name=names).post(url, HEADERS, BODY).error is None
    assert names.num_asked == 1
    assert receiver.messages[0].headers["host"] == f"localhost:{receiver.port}"
    answer = sender(resolve_name=names).post(url, HEADERS, BODY)
    assert answer.error is DeliveryError.NO_PUBLIC_ADDRESS
    assert len(receiver.messages) == 1


def test_the_connection_goes_to_the_checked_number_whatever_the_system_says_of_the_name(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    real = socket.getaddrinfo

    def note(host: str, *args: object, **options: object) -> object:
        asked.append(host)
        return real(host, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", note)
    names = Names(["127.0.0.1"])
    assert sender(resolve_name=names).post(f"http://localhost:{receiver.port}/", HEADERS, BODY).error is None
    assert set(asked) <= {"127.0.0.1"}, "the name itself is not asked of anybody else"


def test_if_the_first_address_does_not_answer_the_next_is_tried(receiver: Receiver) -> None:
    names = Names(["127.0.0.99", "127.0.0.1"])
    assert sender(resolve_name=names).post(f"http://localhost:{receiver.port}/", HEADERS, BODY).error is None


def test_a_name_that_takes_too_long_or_is_none_has_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*_args: object, **_options: object) -> list[object]:
        time.sleep(1.0)
        return []

    assert addresses.resolve("a" * 70 + ".example.org", 443, 5.0) == ()
    assert "127.0.0.1" in addresses.resolve("localhost", 80, 5.0)
    monkeypatch.setattr(socket, "getaddrinfo", slow)
    started_s = time.monotonic()
    assert addresses.resolve(NAME, 443, 0.2) == ()
    assert time.monotonic() - started_s < 0.8


# ---------------------------------------------------------------- TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For NAME and 127.0.0.1, signed by itself; with its key, in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    names = x509.SubjectAlternativeName([x509.DNSName(NAME), x509.IPAddress(ip_address("127.0.0.1"))])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
def https(certificate: Path) -> Iterator[Receiver]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with Receiver(context) as receiver:
        yield receiver


def test_a_server_is_believed_by_its_certificate_for_the_name_not_for_the_number(
    https: Receiver, certificate: Path
) -> None:
    tls = ssl.create_default_context(cafile=str(certificate))
    names = Names(["127.0.0.1"])
    url = f"https://{NAME}:{https.port}/hook"
    answer = sender(resolve_name=names, tls=tls).post(url, HEADERS, BODY)
    assert (answer.error, answer.status) == (None, 204)
    assert https.messages[0].headers["host"] == f"{NAME}:{https.port}"
    other = f"https://other.example.org:{https.port}/"
    assert sender(resolve_name=names, tls=tls).post(other, HEADERS, BODY).error is DeliveryError.TLS_FAILED
    assert sender(resolve_name=names).post(url, HEADERS, BODY).error is DeliveryError.TLS_FAILED
    assert len(https.messages) == 1, "nothing was sent to whom was not believed"


def test_a_server_without_tls_or_that_never_shakes_hands_is_told_so(receiver: Receiver) -> None:
    names = Names(["127.0.0.1"])
    answer = sender(resolve_name=names).post(f"https://{NAME}:{receiver.port}/", HEADERS, BODY)
    assert answer.error is DeliveryError.TLS_FAILED
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://{NAME}:{silent.getsockname()[1]}/"
        answer = sender(timeout_s=0.5, resolve_name=names).post(url, HEADERS, BODY)
    assert answer.error is DeliveryError.TIMED_OUT
    assert answer.took_s < 1.5
