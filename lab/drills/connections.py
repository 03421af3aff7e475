"""Peers without a key against a real API process: it takes little of what they send, and answers others.

Each attack runs over several connections at once, while somebody else asks `/healthz` all the time. Counted:
the bytes that went out before the server ended it, its memory at the highest, and what the other one waited.
"""

from __future__ import annotations

import http.client
import itertools
import re
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lab.drills.drill import Place, Row
from lab.drills.load_api import asked, running
from lab.drills.processes import beside

NAME = "connections"
TITLE = "Peers without a key cannot stall the API"
_MIB = 2**20
_AT_ONCE = 4
_SIZES_MIB = {"lines of a head": 45, "one header": 300}
_SIZE_MIB = 128
_CROWD = 3000
_CROWD_S = 15.0
_ASK_EVERY_S = 0.02
_MOST_MEMORY_MIB = 96
"""That a process may grow by under attack: what it needs for a request, and nothing of the attack's size."""

# What a peer without a key sends over bare connections: heads, chunks and trailers without end.
HEAD = b"GET /healthz HTTP/1.1\r\nHost: here\r\n"
CHUNKED = (
    b"POST /v1/jobs HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
_BLOCK = 65536
_LINES = b"".join(b"X-%06d: %s\r\n" % (number, b"v" * 50) for number in range(1000))

Endless = Callable[[int], Iterator[bytes]]
"""So many bytes at least, in pieces, of something that is never complete."""


def _endless(first: bytes, block: bytes) -> Endless:
    def pieces(num_bytes: int) -> Iterator[bytes]:
        return itertools.chain([first], itertools.repeat(block, -(-num_bytes // len(block))))

    return pieces


ENDLESS: Mapping[str, Endless] = {
    "lines of a head": _endless(HEAD, _LINES),
    "one header": _endless(HEAD + b"X: ", b"v" * _BLOCK),
    "a header's name": _endless(HEAD, b"v" * _BLOCK),
    "a path": _endless(b"GET /", b"v" * _BLOCK),
    "empty lines before a head": _endless(b"", b"\r\n" * (_BLOCK // 2)),
    "an extension of a chunk": _endless(CHUNKED + b"1;x=", b"v" * _BLOCK),
    "a trailer": _endless(CHUNKED + b"1\r\n{\r\n0\r\nX: ", b"v" * _BLOCK),
}
"""Where it stands in a request → its bytes."""


def send(connection: socket.socket, pieces: Iterable[bytes]) -> tuple[int, bytes]:
    """How many bytes went out before the server ended the connection, and its answer."""
    num_sent, answer = 0, b""
    try:
        for piece in pieces:
            connection.sendall(piece)
            num_sent += len(piece)
    except (BrokenPipeError, ConnectionResetError):
        pass
    try:
        while received := connection.recv(_BLOCK):
            answer += received
    except ConnectionResetError:
        pass
    return num_sent, answer


@dataclass
class Neighbour:
    """Whoever asks meanwhile."""

    num_answers: int = 0
    num_failures: int = 0
    longest_s: float = 0.0


@contextmanager
def neighbour(port: int) -> Iterator[Neighbour]:
    """Asks on a new connection each time, as long as the block lasts."""
    seen = Neighbour()

    def ask() -> None:
        began_s = time.monotonic()
        try:
            is_answered = asked(port, "GET", "/healthz", {})[0] == 200
        except (OSError, http.client.HTTPException):
            is_answered = False
        seen.num_answers += is_answered
        seen.num_failures += not is_answered
        seen.longest_s = max(seen.longest_s, time.monotonic() - began_s)

    with beside(ask, _ASK_EVERY_S):
        yield seen


@dataclass(frozen=True, kw_only=True)
class Attack:
    """`once` returns the bytes that went out."""

    what: str
    once: Callable[[], int]
    lasts_s: float = 0.0
    """Begun again and again for so long, over `at_once` connections."""
    at_once: int = 1


def attacked(port: int, pid: int, attack: Attack) -> Row:
    """Do it, and look at the process and at a neighbour meanwhile."""
    Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")  # the peak begins here
    before_mib = _peak_mib(pid)
    with neighbour(port) as seen, ThreadPoolExecutor(attack.at_once) as pool:
        ends_s = time.monotonic() + attack.lasts_s
        each = [pool.submit(_again_and_again, attack.once, ends_s) for _ in range(attack.at_once)]
        sent = [num_bytes for done in each for num_bytes in done.result()]
    grown_mib = _peak_mib(pid) - before_mib
    return Row(
        broken=attack.what,
        times=len(sent),
        expected=f"cut; memory grows by less than {_MOST_MEMORY_MIB} MiB; each /healthz meanwhile answered",
        happened=f"at most {max(sent) / _MIB:.1f} MiB went out; memory grew by {grown_mib:.0f} MiB;"
        f" /healthz answered {seen.num_answers} times, {seen.num_failures} times not,"
        f" after {1000 * seen.longest_s:.0f} ms at most",
        lost=seen.num_failures,
        ok=grown_mib < _MOST_MEMORY_MIB and not seen.num_failures and seen.num_answers > 0,
    )


def _again_and_again(once: Callable[[], int], ends_s: float) -> list[int]:
    found = [once()]
    while time.monotonic() < ends_s:
        found.append(once())
    return found


def _peak_mib(pid: int) -> float:
    found = re.search(r"^VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(encoding="ascii"), re.M)
    assert found is not None
    return int(found[1]) / 1024


def _sent(port: int, pieces: Callable[[], Iterable[bytes]]) -> int:
    with socket.create_connection(("127.0.0.1", port), timeout=120) as connection:
        return send(connection, pieces())[0]


def _crowd(port: int, first: bytes) -> int:
    """Many connections that each send this and then nothing."""
    held: list[socket.socket] = []
    ends_s = time.monotonic() + _CROWD_S
    for number in range(_CROWD):
        address = (f"127.0.0.{1 + number % 20}", 0)
        held.append(socket.create_connection(("127.0.0.1", port), timeout=60, source_address=address))
        held[-1].sendall(first)
    time.sleep(max(0.0, ends_s - time.monotonic()))
    for connection in held:
        connection.close()
    return _CROWD * len(first)


def run(place: Place, *, quick: bool) -> list[Row]:
    """One process, all attacks in turn."""
    with running(place.folder / "api") as (api, _):
        rows = []
        for attack in _attacks(api.port, lasts_s=2.0 if quick else 10.0):
            place.say(attack.what)
            rows.append(attacked(api.port, api.api_pid, attack))
    return rows


def _attacks(port: int, lasts_s: float) -> Iterator[Attack]:
    for where in ENDLESS:
        num_mib = _SIZES_MIB.get(where, _SIZE_MIB)
        once = partial(_sent, port, partial(ENDLESS[where], num_mib * _MIB))
        yield Attack(what=f"{num_mib} MiB in {where}", once=once, lasts_s=lasts_s, at_once=_AT_ONCE)
    once = partial(_sent, port, lambda: [(HEAD + b"\r\n") * 100] * 1000)
    yield Attack(what="100,000 requests at once on a connection", once=once, lasts_s=lasts_s, at_once=4)
    big = b"GET /v1/openapi.json HTTP/1.1\r\nHost: here\r\n\r\n"
    yield Attack(what="3,000 connections with half a head", once=partial(_crowd, port, HEAD))
    yield Attack(what="3,000 connections that take nothing of a big answer", once=partial(_crowd, port, big))
