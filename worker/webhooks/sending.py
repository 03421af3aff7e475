"""One try: a POST to somebody else's server, and what of the answer matters.

The status decides. Redirects are not followed; of a refusal the beginning is read, of a success nothing;
nothing is unpacked. Whatever goes wrong is an answer, too: no exception leaves.
"""

import ssl
import time
from collections.abc import Mapping

import httpcore
import httpx

from app.domain.errors import InvalidInput
from app.domain.webhook_messages import Answer, DeliveryError
from app.domain.webhook_urls import ReachRules, Target
from worker.outward import CheckedBackend, Deadline, NoPublicAddress, Resolve, TlsFailed, resolve

MAX_READ_BYTES = 4096
MAX_EXCERPT_CHARACTERS = 500


class Sender:
    """Sends from any thread. `tls` and `resolve_name` replace the system's in tests."""

    def __init__(
        self,
        rules: ReachRules,
        *,
        timeout_s: float,
        resolve_name: Resolve = resolve,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._rules = rules
        self._timeout_s = timeout_s
        self._resolve = resolve_name
        self._tls = tls or httpx.create_ssl_context()

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send `body` once, and say how it ended."""
        started_s = time.monotonic()
        try:
            target = self._rules.check(url)
        except InvalidInput:
            return Answer(error=DeliveryError.URL_REFUSED)
        status, excerpt, retry_after_s, error = None, None, 0.0, None
        try:
            status, excerpt, retry_after_s = self._post(target, headers, body)
            error = _judged(status)
        except NoPublicAddress:
            error = DeliveryError.NO_PUBLIC_ADDRESS
        except httpcore.TimeoutException:
            error = DeliveryError.TIMED_OUT
        except TlsFailed:
            error = DeliveryError.TLS_FAILED
        except httpcore.NetworkError:
            error = DeliveryError.NO_CONNECTION
        except (httpcore.ProtocolError, ValueError):
            error = DeliveryError.BAD_ANSWER
        return Answer(
            error=error,
            status=status,
            excerpt=excerpt,
            took_s=time.monotonic() - started_s,
            retry_after_s=retry_after_s,
        )

    def _post(self, target: Target, headers: Mapping[str, str], body: bytes) -> tuple[int, str | None, float]:
        backend = CheckedBackend(
            self._rules, self._resolve, Deadline(self._timeout_s), is_plain=target.is_plain
        )
        url = httpcore.URL(
            scheme="http" if target.is_plain else "https",
            host=target.host,
            port=target.port,
            target=target.path,
        )
        with (
            httpcore.ConnectionPool(ssl_context=self._tls, network_backend=backend) as pool,
            pool.stream("POST", url, headers=_all_headers(target, headers, body), content=body) as answer,
        ):
            is_refusal = not 200 <= answer.status < 300
            excerpt = _excerpt(answer) if is_refusal else None
            return answer.status, excerpt, _retry_after_s(answer) if is_refusal else 0.0


def _all_headers(
    target: Target, headers: Mapping[str, str], body: bytes
) -> list[tuple[bytes | str, bytes | str]]:
    return [
        ("Host", target.authority),
        ("Accept", "*/*"),
        ("Accept-Encoding", "identity"),
        ("Connection", "close"),
        ("Content-Length", str(len(body))),
        ("Content-Type", "application/json"),
        ("User-Agent", "CleanCLIP-Webhooks"),
        *headers.items(),
    ]


def _judged(status: int) -> DeliveryError | None:
    if 200 <= status < 300:
        return None
    return DeliveryError.REDIRECTED if 300 <= status < 400 else DeliveryError.REFUSED


def _excerpt(answer: httpcore.Response) -> str | None:
    """What a person may want to read of it; printable characters on one line."""
    read = b""
    try:
        for chunk in answer.iter_stream():
            read += chunk[: MAX_READ_BYTES - len(read)]
            if len(read) >= MAX_READ_BYTES:
                break
    except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError):
        pass  # the status has come, and that is what counts
    text = read.decode("utf-8", "replace")
    shown = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(shown.split())[:MAX_EXCERPT_CHARACTERS] or None


def _retry_after_s(answer: httpcore.Response) -> float:
    """In seconds, where a server that is busy says so; dates are not read."""
    given = [value for name, value in answer.headers if name.lower() == b"retry-after"]
    if answer.status not in {429, 503} or not given:
        return 0.0
    text = given[0].strip()
    return float(text) if text.isdigit() and len(text) < 10 else 0.0
