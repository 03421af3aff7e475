"""GET from somebody else's server: each redirect is a new address to be allowed, each byte is counted.

Sends no credential and no cookie, and takes nothing packed: a body is what its length says. Never goes on
with a file that broke off: half of one answer and half of another are not a file that anybody has.
"""

import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urljoin

import httpcore

from app.domain.errors import InvalidInput
from app.domain.sources import SourceRules
from worker.fetching.errands import Code
from worker.outward import CheckedBackend, Deadline, NoPublicAddress, Resolve, TlsFailed

_MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_LOOK_EVERY_S = 20.0
PART_S = 60.0
"""For connecting with all headers, and for each piece of the body: a byte now and then prolongs neither."""


class Refused(Exception):
    """The errand ends here."""

    def __init__(self, code: Code, said: str) -> None:
        super().__init__(said)
        self.code = code
        self.said = said


@dataclass(frozen=True, kw_only=True)
class Got:
    """An answer with status 200 that is still to be read. `headers`: of each answer on the way, the last one
    too."""

    answer: httpcore.Response
    headers: Sequence[Mapping[str, str]]
    min_bytes_per_s: float
    deadline: Deadline

    @property
    def size_bytes(self) -> int | None:
        text = self.headers[-1].get("content-length", "")
        return int(text) if text.isdecimal() and len(text) < 19 else None

    def chunks(self, max_bytes: int) -> Iterator[bytes]:
        """Raises Refused where more comes than `max_bytes`, or too little in too long."""
        if (self.size_bytes or 0) > max_bytes:
            raise Refused("source_too_large", f"The server announces {self.size_bytes} bytes.")
        num_bytes, num_before, looked_at = 0, 0, time.monotonic()
        body = self.answer.iter_stream()
        while (chunk := self._next(body)) is not None:
            num_bytes += len(chunk)
            if num_bytes > max_bytes:
                raise Refused("source_too_large", f"More than {max_bytes} bytes came.")
            yield chunk
            now = time.monotonic()
            if now - looked_at >= _LOOK_EVERY_S:
                if num_bytes - num_before < self.min_bytes_per_s * (now - looked_at):
                    raise Refused("source_too_slow", f"{num_bytes} bytes had come by then.")
                num_before, looked_at = num_bytes, now

    def _next(self, body: Iterator[bytes]) -> bytes | None:
        self.deadline.begin_part(PART_S)
        return next(body, None)


class Web:
    """All requests of one errand, within its time. `resolve_name` and `tls` replace the system's in tests."""

    def __init__(
        self,
        rules: SourceRules,
        deadline: Deadline,
        *,
        resolve_name: Resolve,
        tls: ssl.SSLContext,
        min_bytes_per_s: float,
    ) -> None:
        self._rules = rules
        self._deadline = deadline
        self._resolve = resolve_name
        self._tls = tls
        self._min_bytes_per_s = min_bytes_per_s

    @contextmanager
    def get(self, url: str) -> Iterator[Got]:
        """Raises Refused, for whatever goes wrong while the answer is read, too."""
        try:
            with self._followed(url) as got:
                yield got
        except InvalidInput as refusal:
            raise Refused("source_leads_elsewhere", refusal.message) from refusal
        except NoPublicAddress as refusal:
            raise Refused(
                "source_leads_elsewhere", "A name leads to no address, or to one that is not public."
            ) from refusal
        except TlsFailed as failure:
            raise Refused(
                "source_unreachable", "No TLS, or its certificate does not match the host name."
            ) from failure
        except httpcore.TimeoutException as failure:
            raise Refused("source_too_slow", "The server was silent for too long.") from failure
        except (httpcore.NetworkError, httpcore.ProtocolError) as failure:
            raise Refused("source_unreachable", "The connection broke off.") from failure

    @contextmanager
    def _followed(self, url: str) -> Iterator[Got]:
        passed: list[Mapping[str, str]] = []
        for _ in range(_MAX_REDIRECTS + 1):
            with self._asked(url) as answer:
                headers = {
                    name.decode("latin-1").lower(): value.decode("latin-1") for name, value in answer.headers
                }
                passed.append(headers)
                if answer.status not in _REDIRECTS:
                    _check(answer.status, headers)
                    yield Got(
                        answer=answer,
                        headers=passed,
                        min_bytes_per_s=self._min_bytes_per_s,
                        deadline=self._deadline,
                    )
                    return
            try:
                url = urljoin(url, headers.get("location", ""))
            except ValueError as error:
                raise Refused("source_not_understood", "It redirects to what is not an address.") from error
        raise Refused("source_not_understood", f"It redirects more than {_MAX_REDIRECTS} times.")

    @contextmanager
    def _asked(self, url: str) -> Iterator[httpcore.Response]:
        target = self._rules.check_url(url)
        self._deadline.begin_part(PART_S)
        backend = CheckedBackend(self._rules.reach, self._resolve, self._deadline, is_plain=target.is_plain)
        scheme = "http" if target.is_plain else "https"
        address = httpcore.URL(scheme=scheme, host=target.host, port=target.port, target=target.path)
        headers = [
            ("Host", target.authority),
            ("Accept", "*/*"),
            ("Accept-Encoding", "identity"),
            ("Connection", "close"),
            ("User-Agent", "CleanCLIP-Fetch"),
        ]
        with (
            httpcore.ConnectionPool(ssl_context=self._tls, network_backend=backend) as pool,
            pool.stream("GET", address, headers=headers) as answer,
        ):
            yield answer


def _check(status: int, headers: Mapping[str, str]) -> None:
    """Raises Refused unless the body is the file."""
    is_bounded = "content-length" in headers or "chunked" in headers.get("transfer-encoding", "")
    if status == 200 and headers.get("content-encoding", "identity") == "identity":
        if not is_bounded:  # a connection that is cut would look like the end
            raise Refused("source_not_understood", "The server does not say where the file ends.")
        return
    codes: dict[int, Code] = {401: "source_not_public", 403: "source_not_public", 404: "source_not_found"}
    codes |= {410: "source_not_found", 200: "source_not_understood"}
    is_outage = status in {408, 425, 429} or status >= 500
    code = codes.get(status, "source_unreachable" if is_outage else "source_not_understood")
    raise Refused(code, f"The server answers with status {status}.")
