"""What a child keeps where no folder shows it, and what outlives its worker: nothing."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from app.domain.states import JobKind
from tests.integration.worker.world import wait_until
from tests.suites import mostly_full
from worker import supervision
from worker.confinement import sandbox, session
from worker.confinement.child import Child
from worker.confinement.sandbox import ChildLimits
from worker.confinement.trees import remove_tree
from worker.failures import AttemptFailed
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
        sandbox.guarded_command(
            [sys.executable, "-c", program, str(job)],
            job,
            level,
            sandbox.rlimits(limits, JobKind.INSPECT, level),
            uses_cuda=limits.uses_cuda,
        ),
        environment=sandbox.environment(job, limits, os.environ),
        folder=job,
        log_path=folder / "log",
        on_event=lambda _event: None,
    )


def look_for(seconds: float, watch: Watch) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        watch.look()
        time.sleep(0.05)


def why_it_is_stopped(running: Child, folder: Path, limits: ChildLimits) -> str:
    nobody: Any = SimpleNamespace(check=lambda: None)
    try:
        watch = Watch(running, folder / "job", nobody, JobKind.INSPECT, limits)
        with pytest.raises(AttemptFailed) as failed:
            look_for(45, watch)
    finally:
        running.close()
    return failed.value.code


@pytest.mark.parametrize("program", [UNLINKED, IN_A_CLOSED_FOLDER, DEEP])
def test_what_a_child_hides_on_the_disk_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    monkeypatch.setattr(supervision, "MEASURE_EVERY_S", 0.1)
    monkeypatch.setattr(supervision, "MEASURE_DISK_EVERY_S", 0.1)
    running = start(tmp_path, program, sandbox.strongest_isolation(), LIMITS)
    assert why_it_is_stopped(running, tmp_path, LIMITS) == "disk_allowance_used_up"
    assert remove_tree(tmp_path / "job"), "pytest, which keeps what a test leaves, could not remove it later"


@pytest.mark.parametrize(  # at the level "none" it has none
    "level", mostly_full([level for level in LEVELS if level != "none"], daily=LEVELS[:1])
)
def test_shared_memory_counts_while_it_is_open(tmp_path: Path, level: str) -> None:
    program = (
        "import os, time\n"
        "place = f'/dev/shm/test-watch-{os.getpid()}-{time.monotonic_ns()}'\n"
        "file = open(place, 'wb', buffering=0)\n"
        "os.unlink(place)\n"
        "for _ in range(50): file.write(bytes(2**20))\n"
        "time.sleep(60)\n"
    )
    running = start(tmp_path, program, level, replace(LIMITS, file_bytes=100 * MIB))
    try:
        wait_until(lambda: running.usage().memory_bytes >= 50 * MIB, 45)
    finally:
        running.close()
    assert session.is_left_alone(running.pid)


FORKED = """
import os, time
kept = b"x" * (60 * 2**20)
for _ in range(3):
    if os.fork() == 0:
        if {writes}:
            kept = kept.replace(b"x", b"y")
        time.sleep(60)
        os._exit(0)
print("ready", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("level", mostly_full(LEVELS, daily=LEVELS[:1]))
@pytest.mark.parametrize("writes", [False, True])
def test_memory_that_a_fork_shares_counts_once_and_what_is_written_by_itself(
    tmp_path: Path, level: str, writes: bool
) -> None:
    """Loaders are forked from a process that has trained; each by itself is as large."""
    running = start(tmp_path, FORKED.format(writes=writes), level, replace(LIMITS, memory_bytes=2**31))
    try:
        wait_until(lambda: running.usage().memory_bytes >= 4 * 60 * MIB, 45)
        wait_until(lambda: (running.usage(1).memory_bytes > 200 * MIB) == writes, 45)
        assert running.usage(1).memory_bytes >= 60 * MIB
        assert running.usage(2**31).memory_bytes >= 4 * 60 * MIB, "not over the limit: not asked exactly"
    finally:
        running.close()


PIPES = """
import os, time
pipes = [os.pipe() for _ in range(1600)]
time.sleep(60)
"""
PAIRS_OF_SOCKETS = """
import socket, time
pairs = [socket.socketpair() for _ in range(250)]
time.sleep(60)
"""
UNTOUCHED_PAGES = """
import mmap, time
MAP_NORESERVE = 0x4000
zeros = mmap.mmap(-1, 60 * 2**30, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE, mmap.PROT_READ)
for at in range(0, len(zeros), 2**21): zeros[at]
time.sleep(60)
"""


@pytest.mark.parametrize(
    ("program", "uses_cuda"), [(PIPES, False), (PAIRS_OF_SOCKETS, True), (UNTOUCHED_PAGES, True)]
)
def test_what_the_kernel_keeps_for_a_child_counts_as_its_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, uses_cuda: bool
) -> None:
    monkeypatch.setattr(supervision, "MEASURE_EVERY_S", 0.1)
    limits = replace(LIMITS, memory_bytes=100 * MIB, uses_cuda=uses_cuda)
    running = start(tmp_path, program, sandbox.strongest_isolation(), limits)
    assert why_it_is_stopped(running, tmp_path, limits) == "out_of_memory"


def test_a_child_that_opens_files_without_end_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "MEASURE_EVERY_S", 0.1)
    program = (
        "import os, time\n"
        "for _ in range(3): os.fork()\n"
        "files = [os.dup(0) for _ in range(4000)]\n"
        "time.sleep(60)\n"
    )
    running = start(tmp_path, program, sandbox.strongest_isolation(), LIMITS)
    assert why_it_is_stopped(running, tmp_path, LIMITS) == "too_many_open_files"


RELAY = """
import os, time
if {nobody_waits}:
    import signal
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
while True:
    ours, theirs = os.pipe()
    if os.fork() == 0:
        if {are_orphans} and os.fork(): os._exit(0)
        end = time.process_time() + 0.4
        while time.process_time() < end: pass
        os._exit(0)
    os.close(theirs)
    os.read(ours, 1)
    os.close(ours)
    if not {nobody_waits}: os.wait()
"""


@pytest.mark.parametrize(
    ("level", "are_orphans", "nobody_waits"),
    [(LEVELS[0], False, False), (LEVELS[-1], True, False), (LEVELS[-1], False, True)],
)
def test_processor_time_of_all_its_processes_counts_also_of_those_that_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, level: str, are_orphans: bool, nobody_waits: bool
) -> None:
    monkeypatch.setattr(supervision, "MEASURE_EVERY_S", 0.1)
    limits = replace(LIMITS, hostile_cpu_s=1)
    program = RELAY.format(are_orphans=are_orphans, nobody_waits=nobody_waits)
    running = start(tmp_path, program, level, limits)
    assert why_it_is_stopped(running, tmp_path, limits) == "cpu_time_exceeded"


def test_a_child_that_reads_may_not_take_for_ever_whatever_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "MEASURE_EVERY_S", 0.1)
    limits = replace(LIMITS, hostile_wall_s=0.5)
    running = start(tmp_path, "import time; time.sleep(60)", sandbox.strongest_isolation(), limits)
    assert why_it_is_stopped(running, tmp_path, limits) == "wall_time_exceeded"


@pytest.mark.parametrize(("program", "works"), [("time.sleep(60)", False), ("while True: pass", True)])
def test_a_child_that_only_says_that_it_goes_on_is_stopped_and_one_that_computes_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, works: bool
) -> None:
    monkeypatch.setattr(supervision, "MEASURE_EVERY_S", 0.1)
    limits = replace(LIMITS, stall_s=3.0)
    running = start(tmp_path, f"import time\n{program}", sandbox.strongest_isolation(), limits)
    nobody: Any = SimpleNamespace(check=lambda: None)
    code = None
    try:
        watch = Watch(running, tmp_path / "job", nobody, JobKind.AUDIT, limits)
        deadline = time.monotonic() + (8 if works else 45)
        while code is None and time.monotonic() < deadline:
            watch.heard()
            time.sleep(0.05)
            try:
                watch.look()
            except AttemptFailed as failed:
                code = failed.code
    finally:
        running.close()
    assert code == (None if works else "child_stalled")


FORGES_A_FAILED_SET_UP = """
import os
for number in os.listdir("/proc/self/fd"):
    try: os.write(int(number), b"-")
    except OSError: pass
os.write(2, b"guard: OSError: no space left on device")
os._exit(121)
"""


@pytest.mark.parametrize("level", LEVELS)
def test_whether_a_child_was_set_up_is_the_guards_word_and_not_the_childs(tmp_path: Path, level: str) -> None:
    forger = start(tmp_path, FORGES_A_FAILED_SET_UP, level, LIMITS)
    wait_until(lambda: forger.poll() is not None, 45)
    assert (forger.close(), forger.was_set_up) == (121, True)
    absent = Child(
        sandbox.guarded_command(["/no/such/program"], tmp_path / "job", level, {}),  # type: ignore[arg-type]
        environment={},
        folder=tmp_path / "job",
        log_path=tmp_path / "log",
        on_event=lambda _event: None,
    )
    wait_until(lambda: absent.poll() is not None, 45)
    assert (absent.close(), absent.was_set_up) == (121, False)
    assert "No such file" in absent.log_tail()


@pytest.mark.parametrize("level", mostly_full(LEVELS, daily=LEVELS[:1]))
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
    leader = int(process.stdout.readline())
    wait_until(lambda: len(list((tmp_path / "job").glob("lives-*"))) == 4, 45)
    process.kill()
    process.communicate()
    wait_until(lambda: session.is_left_alone(leader), 45)
