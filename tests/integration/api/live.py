"""The API as a process of its own that is stopped and started on one port, and jobs whose worker is us."""

import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from app.domain.states import DatasetKind
from cleanclip.sync.following import Frame, frames
from tests.integration.cleanclip.served import LEASE_S, Served

ROOT = Path(__file__).resolve().parents[3]
AUTHORIZATION = "Authorization"


@dataclass
class Process:
    """`python -m app.main` on one port, as often as it is started."""

    url: str
    environment: Mapping[str, str]
    log: Path
    _running: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._running = subprocess.Popen(
                [sys.executable, "-m", "app.main"], cwd=ROOT, env=self.environment, stdout=log, stderr=log
            )
        deadline = time.monotonic() + 60
        while True:
            assert self._running.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            try:
                if httpx.get(f"{self.url}/healthz").status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.05)

    def stop(self) -> None:
        """As a deployment stops it."""
        assert self._running is not None
        self._running.terminate()
        self._running.wait(20)


@dataclass(frozen=True)
class Live:
    """The process, its tenants, and what a worker does."""

    process: Process
    ours: Served
    their_key: str

    @property
    def headers(self) -> dict[str, str]:
        return {AUTHORIZATION: f"Bearer {self.ours.key}"}

    def get(self, path: str, **more: Any) -> httpx.Response:
        return httpx.get(self.process.url + path, headers=self.headers, timeout=20, **more)

    def job(self) -> str:
        """A job that waits: one event."""
        body = {
            "kind": "sanitize",
            "checkpoint_id": self.ours.accepted_checkpoint(),
            "dataset_id": self.ours.ready_dataset(DatasetKind.PAIRS),
            "audit": {"dataset_id": self.ours.ready_dataset(DatasetKind.LABELLED), "target": "banana"},
        }
        answer = httpx.post(f"{self.process.url}/v1/jobs", json=body, headers=self.headers, timeout=20)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def note(self, job_id: str, attempt: int, **data: Any) -> None:
        """One more event."""
        with self.ours.database.unit_of_work() as unit:
            assert unit.attempts.record_event(job_id, attempt, "noted", data)

    def beat(self, job_id: str, attempt: int, fraction: float) -> None:
        """Progress, which is not an event."""
        with self.ours.database.unit_of_work() as unit:
            assert unit.attempts.heartbeat(job_id, attempt, lease_s=LEASE_S, progress={"fraction": fraction})

    def finish(self, job_id: str, attempt: int) -> None:
        with self.ours.database.unit_of_work() as unit:
            assert unit.attempts.finish_succeeded(job_id, attempt, result={})

    @contextmanager
    def stream(
        self, job_id: str, *, key: str | None = None, after: int | None = None, **headers: str
    ) -> Iterator[httpx.Response]:
        """Not read yet."""
        given = self.headers | ({AUTHORIZATION: f"Bearer {key}"} if key else {}) | headers
        sent = [(name.encode(), value.encode("latin-1")) for name, value in given.items()]
        path = f"{self.process.url}/v1/jobs/{job_id}/events/stream"
        query = {} if after is None else {"after": str(after)}
        with httpx.stream("GET", path, headers=sent, params=query, timeout=20) as answer:
            yield answer

    def whole(self, job_id: str, **more: Any) -> list[Frame]:
        """Every event of a stream that ends."""
        with self.stream(job_id, **more) as answer:
            return [frame for frame in frames(answer.iter_bytes()) if frame is not None]

    def status(self, job_id: str) -> int:
        """Of a stream that is closed at once."""
        with self.stream(job_id) as answer:
            return answer.status_code

    def connection(self, job_id: str, *, buffer: int | None = None) -> socket.socket:
        """A follower that is a bare connection; `buffer` bytes are taken without being read."""
        one = socket.socket()
        if buffer:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        one.connect(("127.0.0.1", int(self.process.url.rpartition(":")[2])))
        lines = [f"GET /v1/jobs/{job_id}/events/stream HTTP/1.1", "Host: here"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        one.sendall("\r\n".join([*lines, "", ""]).encode())
        return one

    def num_open(self) -> int:
        """As the metrics have it."""
        found = re.search(r"^cleanclip_event_streams (\S+)$", self.get("/metrics").text, re.M)
        assert found is not None
        return int(float(found[1]))

    def closed(self, *, within_s: float = 5.0) -> None:
        """Wait until nobody follows."""
        deadline = time.monotonic() + within_s
        while self.num_open():
            assert time.monotonic() < deadline, f"{self.num_open()} streams are still open"
            time.sleep(0.05)


def vanish(one: socket.socket) -> None:
    """As a machine that lost its power and came back: a reset, no goodbye."""
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    one.close()
