"""What a child keeps where no folder shows it, and what outlives its worker: nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from app.domain.states import JobKind
from worker import child, sandbox, supervision
from worker.child import Child
from worker.failures import AttemptFailed
from worker.sandbox import ChildLimits
from worker.supervision import Watch

MIB = 2**20
LIMITS = ChildLimits(memory_bytes=200 * MIB, file_bytes=MIB, hostile_cpu_s=30, num_threads=1)
LEVELS = {"full": ["full", "network", "none"], "network": ["network", "none"], "none": ["none"]}[
    sandbox.strongest_isolation()
]
UNLINKED = """
import os, time
files = [open(f"file-{n}", "wb", buffering=0) for n in range(10)]
for number, file in enumerate(files):
    os.unlink(f"file-{number}")
    file.write(bytes(2**20))
time.sleep(60)
"""
IN_A_CLOSED_FOLDER = """
import contextlib, os, time
os.mkdir("closed")
files = [open(f"closed/{n}", "wb", buffering=0) for n in range(10)]
with contextlib.suppress(PermissionError):  # below the level full it cannot even close one
    os.chmod("closed", 0)
for file in files:
    file.write(bytes(2**20))
time.sleep(60)
"""
DEEP = """
import os, time
for _ in range(1000):
    os.mkdir("d")
    os.chdir("d")
time.sleep(60)
"""


def start(folder: Path, program: str, level: Any, limits: ChildLimits) -> Child:
    for name in ("home", "tmp"):
        (folder / "job" / name).mkdir(parents=True)
    job = folder / "job"
    return Child(
        sandbox.guarded(
            [sys.executable, "-c", program, str(job)],
            job,
            level,
            sandbox.rlimits(limits, JobKind.INSPECT, level),
        ),
        environment=sandbox.environment(job, limits, os.environ),
        folder=job,
        log_path=folder / "log",
        on_event=lambda _event: None,
    )


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def look_for(seconds: float, watch: Watch) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        watch.look()
        time.sleep(0.05)


@pytest.mark.parametrize("program", [UNLINKED, IN_A_CLOSED_FOLDER, DEEP])
def test_what_a_child_hides_on_the_disk_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    monkeypatch.setattr(supervision, "_MEASURE_EVERY_S", 0.1)
    monkeypatch.setattr(supervision, "_MEASURE_DISK_EVERY_S", 0.1)
    running = start(tmp_path, program, sandbox.strongest_isolation(), LIMITS)
    nobody: Any = SimpleNamespace(check=lambda: None)
    watch = Watch(running, tmp_path / "job", nobody, nobody, LIMITS)
    try:
        with pytest.raises(AttemptFailed) as failed:
            look_for(10, watch)
    finally:
        running.close()
    assert failed.value.code == "disk_allowance_used_up"


@pytest.mark.parametrize("level", LEVELS)
def test_shared_memory_counts_while_it_is_open(tmp_path: Path, level: str) -> None:
    program = (
        "import os, time\n"
        "place = f'/dev/shm/test-watch-{os.getpid()}-{time.monotonic_ns()}'\n"
        "file = open(place, 'wb', buffering=0)\n"
        "os.unlink(place)\n"
        "for _ in range(5): file.write(bytes(2**20))\n"
        "time.sleep(60)\n"
    )
    running = start(tmp_path, program, level, ChildLimits(**{**vars(LIMITS), "file_bytes": 10 * MIB}))
    try:
        wait_until(lambda: running.held().memory_bytes >= 5 * MIB)
    finally:
        running.close()
    assert child._session_members(running.pid) == []


@pytest.mark.parametrize("level", LEVELS)
def test_nothing_outlives_a_worker_that_is_killed(tmp_path: Path, level: str) -> None:
    program = (
        "import ctypes, os, sys, time\n"
        "ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)\n"
        "for _ in range(2): os.fork()\n"
        "open(f'{sys.argv[1]}/lives-{os.getpid()}', 'w').close()\n"
        "time.sleep(60)\n"
    )
    worker = (
        "import time\n"
        "from pathlib import Path\n"
        "from tests.integration.worker.test_watch import LIMITS, start\n"
        f"running = start(Path({str(tmp_path)!r}), {program!r}, {level!r}, LIMITS)\n"
        "print(running.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", worker], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    session = int(process.stdout.readline())
    wait_until(lambda: len(list((tmp_path / "job").glob("lives-*"))) == 4)
    process.kill()
    process.communicate()
    wait_until(lambda: child._session_members(session) == [])
