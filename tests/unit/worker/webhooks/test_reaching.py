"""Names that lead where they must not, and servers that are none of those named: nothing is connected to."""

import socket
import ssl
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from app.domain.webhook_messages import DeliveryError
from app.domain.webhook_urls import ReachRules
from tests.fakes.webhook_receiver import Receiver
from tests.unit.worker.webhooks.trying import BODY, HEADERS, Names, sender
from worker import outward
from worker.webhooks.sending import Sender

NAME = "hooks.example.org"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


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
        time.sleep(3.0)
        return []

    assert outward.resolve("a" * 70 + ".example.org", 443, 5.0) == ()
    assert "127.0.0.1" in outward.resolve("localhost", 80, 5.0)
    monkeypatch.setattr(socket, "getaddrinfo", slow)
    started_s = time.monotonic()
    assert outward.resolve(NAME, 443, 0.2) == ()
    assert time.monotonic() - started_s < 2.5


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
    assert answer.took_s < 5.0
