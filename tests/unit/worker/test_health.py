"""A worker's sign of life is its own, in its own container, and ends with it."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from worker import health


@pytest.fixture
def ended() -> threading.Event:
    return threading.Event()


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 10
    while not path.exists() or not path.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_process_that_touches_its_file_is_alive_until_it_ends(
    tmp_path: Path, ended: threading.Event
) -> None:
    assert not health.is_alive(tmp_path)
    thread = health.keep_touching(ended, tmp_path)
    wait_for(tmp_path / str(os.getpid()))
    assert health.is_alive(tmp_path)
    ended.set()
    thread.join(10)
    assert not health.is_alive(tmp_path)


def test_what_another_containers_process_left_is_no_sign_of_life(tmp_path: Path) -> None:
    """Its number may be that of some process here; when that began tells them apart."""
    (tmp_path / str(os.getpid())).write_text("12345")
    (tmp_path / "4194305").write_text("12345")
    (tmp_path / "README").write_text("")
    assert not health.is_alive(tmp_path)


def test_a_process_that_hangs_is_not_alive_for_long(
    tmp_path: Path, ended: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    health.keep_touching(ended, tmp_path)
    wait_for(tmp_path / str(os.getpid()))
    monkeypatch.setattr(health.time, "time", lambda: time.monotonic() + 2**32)
    assert not health.is_alive(tmp_path)
    ended.set()


def test_the_check_reads_no_settings_and_fails_without_a_worker(tmp_path: Path) -> None:
    """It runs every few seconds, beside a worker whose container may hold no other program's settings."""
    environment = {"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path), "CLEANCLIP_ENVIRONMENT": "production"}
    command = [sys.executable, "-m", "worker.health"]
    assert subprocess.run(command, env=environment, check=False).returncode == 1
    assert {path.name for path in tmp_path.iterdir()} == {f"cleanclip-alive-{os.geteuid()}"}
