"""`python -m app.cli serve`: everything comes up, what dies comes back, and nothing stays behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.local import guard
from tests.integration.local.processes import assert_all_gone, processes_below

pytestmark = [pytest.mark.stack, pytest.mark.skipif(not guard.IS_LINUX, reason="reads /proc")]

ROOT = Path(__file__).resolve().parents[3]
START_TIMEOUT_S = 90.0


@dataclass
class Running:
    """A `serve` that has said it is ready."""

    process: subprocess.Popen[bytes]
    folder: Path
    ready: dict[str, Any]

    def get(self, path: str) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.ready['key']}"}
        return httpx.get(self.ready["url"] + path, headers=headers, timeout=10.0)


def _without_settings() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("CLEANCLIP_")}


def start_serve(folder: Path) -> Running:
    ready_file = folder / "ready.json"
    with (folder / "said").open("ab") as said:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "app.cli", "serve", "--folder", str(folder / "data")),
                *("--ready-file", str(ready_file), "--until-stdin-closes"),
            ],
            cwd=ROOT,
            env=_without_settings(),
            stdin=subprocess.PIPE,
            stdout=said,
            stderr=said,
        )
    deadline = time.monotonic() + START_TIMEOUT_S
    while not ready_file.exists():
        assert process.poll() is None, (folder / "said").read_text()
        assert time.monotonic() < deadline, (folder / "said").read_text()
        time.sleep(0.05)
    return Running(process, folder, json.loads(ready_file.read_text()))


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    running = start_serve(tmp_path)
    yield running
    assert running.process.stdin is not None
    running.process.stdin.close()
    running.process.kill()
    running.process.wait()
    assert_all_gone(tmp_path, timeout_s=60.0)


def test_it_serves_restarts_what_dies_and_stops_with_stdin(running: Running) -> None:
    assert running.get("/readyz").status_code == 200
    assert running.get("/v1/jobs").json()["data"] == []
    assert (running.folder / "ready.json").stat().st_mode & 0o077 == 0
    assert (running.folder / "data" / "key").stat().st_mode & 0o077 == 0
    key = running.folder / "data" / "signing" / "signing-key.pem"
    assert key.stat().st_mode & 0o077 == 0
    assert f"signs    with {key}" in (running.folder / "said").read_text()
    assert running.ready["environment"]["CLEANCLIP_SIGNING__KEY_FILE"] == str(key)
    assert set(running.ready["pids"]) == {"api", "worker-light", "worker-heavy", "sweeper", "webhooks"}

    environment = running.folder / "data" / "environment"
    assert environment.stat().st_mode & 0o077 == 0
    listed = subprocess.run(
        [
            "/bin/sh",
            "-c",
            '. "$1" && exec "$2" -m app.cli keys --project default',
            "sh",
            str(environment),
            sys.executable,
        ],
        cwd=ROOT,
        env=_without_settings(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert listed.returncode == 0, listed.stderr
    assert "serve" in listed.stdout
    assert f"(. {environment} && python -m app.cli nulls)" in (running.folder / "said").read_text()

    os.kill(running.ready["pids"]["api"], signal.SIGKILL)
    deadline = time.monotonic() + 30.0
    while True:
        try:
            assert running.get("/v1/jobs").status_code == 200
            break
        except httpx.TransportError:
            assert time.monotonic() < deadline
            time.sleep(0.1)

    assert running.process.stdin is not None
    running.process.stdin.close()
    assert running.process.wait(60.0) == 0
    assert processes_below(running.folder) == []
    assert not (running.folder / "ready.json").exists()
    assert not environment.exists()


@pytest.mark.full
def test_started_again_it_has_its_key_and_stops_at_ctrl_c(running: Running) -> None:
    """That data outlive each server is shown daily by test_stack.py."""
    assert running.process.stdin is not None
    running.process.stdin.close()
    assert running.process.wait(60.0) == 0
    again = start_serve(running.folder)
    try:
        assert again.ready["key"] == running.ready["key"]
        assert again.get("/v1/jobs").status_code == 200
    finally:
        again.process.send_signal(signal.SIGINT)
        assert again.process.wait(60.0) == 0
    assert processes_below(running.folder) == []


@pytest.mark.full
def test_nothing_outlives_a_serve_that_was_killed(running: Running) -> None:
    pids = [int(line.split()[0]) for line in processes_below(running.folder)]
    assert set(running.ready["pids"].values()) <= set(pids)
    running.process.kill()
    running.process.wait()
    assert_all_gone(running.folder, timeout_s=60.0)
