"""A service of a few lines that answers from a list, and a clock that does not wait."""

import json
import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import httpx
import pytest

from cleanclip.command.main import main
from cleanclip.command.session import Session
from cleanclip.retries import Clock, Retries
from cleanclip.sync.client import Client
from tests.unit.cleanclip.bridge import client_of_kind

URL = "https://clean.example.org"
KEY = "cclip_live_tests"
kind = ContextVar("kind", default="sync")
"""Which client `client_on` makes: each test of the client is run with both."""
Answer = httpx.Response | Exception | Callable[[httpx.Request], httpx.Response]


class FakeClock:
    """Time passes only while something sleeps."""

    def __init__(self) -> None:
        self.time_s = 1000.0
        self.slept: list[float] = []

    def now(self) -> float:
        return self.time_s

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time_s += seconds

    def clock(self) -> Clock:
        return Clock(now=self.now, sleep=self.sleep)


class FakeService(httpx.MockTransport):
    """Gives its answers one after the other, the last one for ever; keeps the requests. Has no streams."""

    def __init__(self, *answers: Answer) -> None:
        super().__init__(self._handle)
        self.answers: list[Answer] = list(answers)
        self.requests: list[httpx.Request] = []
        self._lock = threading.Lock()

    def _handle(self, request: httpx.Request) -> httpx.Response:
        request.read()
        if request.url.path.endswith("/events/stream"):
            return problem(404, "route_not_found")
        with self._lock:
            self.requests.append(request)
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, httpx.Response):
            return answer
        return answer(request)


class FakeRoutes(httpx.MockTransport):
    """Answers by method and path; what is not there is a 404 problem."""

    def __init__(self, routes: dict[tuple[str, str], Answer]) -> None:
        super().__init__(self._handle)
        self.routes = routes
        self.requests: list[httpx.Request] = []

    def _handle(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.requests.append(request)
        answer = self.routes.get((request.method, request.url.path))
        if answer is None:
            return problem(404, "route_not_found")
        if isinstance(answer, Exception):
            raise answer
        return answer(request) if callable(answer) else answer


class DoneAtOnce(httpx.MockTransport):
    """Takes every order and shows `done`, a job that has ended; keeps what was ordered."""

    def __init__(self, done: dict[str, Any]) -> None:
        super().__init__(self._handle)
        self.done = done
        self.bodies: list[dict[str, Any]] = []

    def _handle(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            self.bodies.append(json.loads(request.read()))
        if request.url.path.endswith("/verdicts"):
            return httpx.Response(200, json={"data": [], "num_verdicts": 0})
        return httpx.Response(200, json=self.done)


def ran(transport: httpx.BaseTransport, *arguments: str) -> int:
    """How `cleanclip` ends."""
    with pytest.raises(SystemExit) as caught:
        main(
            ["--url", URL, "--api-key", KEY, *arguments],
            session=Session(transport=transport, clock=FakeClock().clock()),
        )
    return int(caught.value.code or 0)


def client_on(
    transport: httpx.BaseTransport, clock: FakeClock | None = None, *, max_tries: int = 4
) -> Client:
    """A client whose jitter is always the longest, so that pauses can be told beforehand."""
    return client_of_kind(
        kind.get(),
        URL,
        KEY,
        transport=transport,
        retries=Retries(max_tries=max_tries, jitter=lambda: 1.0),
        clock=(clock or FakeClock()).clock(),
    )


def problem(status: int, code: str, *, headers: dict[str, str] | None = None, **more: Any) -> httpx.Response:
    """A refusal as the service gives it."""
    body = {
        "type": f"urn:cleanclip:problem:{code}",
        "title": "Refused",
        "status": status,
        "code": code,
        "detail": "It cannot be done.",
        "remedy": "Do something else.",
        "errors": [],
        "request_id": "req_1",
    } | more
    return httpx.Response(
        status, json=body, headers={"Content-Type": "application/problem+json"} | (headers or {})
    )


def job(**changes: Any) -> dict[str, Any]:
    """A job on the wire."""
    return {
        "object": "job",
        "id": "job_1",
        "kind": "sanitize",
        "state": "queued",
        "phase": None,
        "phases": [{"name": "stage", "state": "pending", "started_at": None, "finished_at": None}],
        "progress": {"fraction": 0.0},
        "checkpoint_id": "ckpt_1",
        "dataset_id": "ds_1",
        "recipe": {"method": "cleanclip", "epochs": 10},
        "audit": {"dataset_id": "ds_2", "target": "banana"},
        "policy": {},
        "seed": 0,
        "output_layout": "open_clip",
        "attempt": 0,
        "max_attempts": 3,
        "metadata": {},
        "created_at": "2026-01-01T00:00:00Z",
        "started_at": None,
        "finished_at": None,
        "updated_at": "2026-01-01T00:00:00Z",
        "pause_requested": False,
        "error": None,
        "result": None,
        "etag": "job_1.0",
    } | changes
