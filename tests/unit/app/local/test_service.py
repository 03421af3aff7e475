"""The processes of one machine: one that keeps ending waits longer each time, and stops no other."""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from app.local.service import Service, ServiceOptions

ANSWERS = (
    "import http.server, os\n"
    "class Ok(http.server.BaseHTTPRequestHandler):\n"
    "    def do_GET(self): self.send_response(200); self.end_headers()\n"
    "http.server.HTTPServer(('127.0.0.1', int(os.environ['CLEANCLIP_API__PORT'])), Ok).serve_forever()\n"
)


class OneThatDies(Service):
    """An API that answers, a worker that ends at once."""

    def _commands(self) -> dict[str, Sequence[str]]:
        run = (sys.executable, "-I", "-S", "-c")
        return {
            "api": (sys.executable, "-c", ANSWERS),
            "worker-heavy": (*run, "print('poisoned'); raise SystemExit(3)"),
        }


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def service(tmp_path: Path, clock: Clock) -> Iterator[Service]:
    options = ServiceOptions(root=tmp_path, folder=tmp_path / "logs", stop_grace_s=0.1)
    service = OneThatDies(options, dict(os.environ), now_s=clock).start()
    yield service
    service.stop()


def died(service: Service) -> None:
    deadline = time.monotonic() + 20
    while service.processes["worker-heavy"].is_running:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_worker_that_keeps_ending_is_started_again_ever_later_and_the_api_never_notices(
    service: Service, clock: Clock
) -> None:
    api = service.processes["api"]
    waits_s = []
    for _ in range(9):
        died(service)
        said = service.restart_dead()
        assert said[0].startswith("worker-heavy ended with code 3")
        asked_at_s = clock.now_s
        while service.down():
            clock.now_s += 1.0
            said = service.restart_dead()
        assert said[-1] == "worker-heavy started again"
        waits_s.append(clock.now_s - asked_at_s)
    assert waits_s == [0, 1, 2, 4, 8, 16, 32, 60, 60]
    assert service.processes["api"] is api
    assert api.is_running


def test_what_is_down_is_told_with_the_end_of_its_log_and_is_forgotten_after_a_calm_minute(
    service: Service, clock: Clock
) -> None:
    for _ in range(3):
        died(service)
        said = service.restart_dead()
        clock.now_s += 1.0
        service.restart_dead()
    assert "3 times in a row; next start in 2 s" in said[0]
    assert "poisoned" in said[0]
    assert service.down() == {"worker-heavy": 3}
    clock.now_s += 1.0
    assert service.restart_dead() == ["worker-heavy started again"]
    clock.now_s += 61.0
    died(service)
    assert service.restart_dead() == ["worker-heavy ended with code 3", "worker-heavy started again"]
