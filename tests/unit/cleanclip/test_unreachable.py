"""Addresses that are wrong: what is said of them is what is wrong, and what to do."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest

from cleanclip.errors import TransportError
from cleanclip.retries import Clock
from cleanclip.sync.client import Client
from cleanclip.unreachable import why_unreachable


def never(seconds: float) -> None:
    pytest.fail(f"it waited {seconds} s for another try")


@pytest.fixture
def port() -> Iterator[int]:
    """Of a server that speaks http."""
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def test_https_to_a_port_that_speaks_http_is_said_at_once_and_without_openssls_words(port: int) -> None:
    with (
        Client(f"https://127.0.0.1:{port}", "k", clock=Clock(sleep=never)) as client,
        pytest.raises(TransportError) as caught,
    ):
        client.methods()
    assert f"speaks http, not https. Use http://127.0.0.1:{port}" in str(caught.value)
    assert "SSL" not in str(caught.value)


def test_a_certificate_that_is_not_trusted_and_a_port_where_nobody_is() -> None:
    words = (
        "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate (_ssl.c:1006)"
    )
    reported, remedy, is_lasting = why_unreachable(httpx.URL("https://x.org"), httpx.ConnectError(words))
    assert "self-signed certificate" in reported
    assert "SSL_CERT_FILE" in remedy
    assert is_lasting
    _, remedy, is_lasting = why_unreachable(
        httpx.URL("http://x.org"), httpx.ConnectError("[Errno 111] Connection refused")
    )
    assert "SSL" not in remedy
    assert not is_lasting


@pytest.mark.parametrize("inside", ["/ui", "/ui/", "/ui/jobs/new", "/v1", "/v1/jobs", "/docs"])
@pytest.mark.parametrize("own", ["http://x.org:8000", "https://x.org/clean"])
def test_an_address_inside_the_service_is_refused_with_the_services_own(own: str, inside: str) -> None:
    with pytest.raises(ValueError, match=f": {own}$"):
        Client(own + inside, "k")
    Client(f"{own}/uinta", "k").close()
