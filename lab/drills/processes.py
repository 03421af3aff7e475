"""Processes here: found by what they work on, signalled, run to their end, and what they use. Linux only."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def processes_in(folder: Path) -> list[int]:
    """Processes whose command line names something below `folder`: a worker's children, guards included."""
    found = []
    for pid in _running():
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if str(folder) in command:
            found.append(pid)
    return found


def _running() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]


def signal_all(pids: Iterable[int], number: signal.Signals) -> None:
    """The signal to each. A guard's end takes the rest of its session along, so some may be gone already."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def output_of(*command: str, environment: Mapping[str, str] | None = None) -> str:
    """What a program wrote to its standard output. Raises RuntimeError with its last words if it failed."""
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)[:200]}: {done.stderr.strip()[-1000:]}")
    return done.stdout


def tree(pid: int) -> list[int]:
    """The process and its descendants, as far as they still run."""
    children: dict[int, list[int]] = {}
    for one in _running():
        if fields := _stat(one):
            children.setdefault(int(fields[1]), []).append(one)
    found, waiting = [], [pid]
    while waiting:
        one = waiting.pop()
        found.append(one)
        waiting += children.get(one, [])
    return found


def cpu_s(pids: list[int]) -> float:
    """Processor seconds so far, user and system, of those that still run and of children they have reaped."""
    ticks = 0
    for pid in pids:
        if fields := _stat(pid):
            ticks += sum(int(fields[index]) for index in (11, 12, 13, 14))
    return ticks / _TICKS_PER_S


def _stat(pid: int) -> list[str] | None:
    """The fields after the command's name, which may hold spaces; None where the process is gone."""
    try:
        return (
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        )
    except OSError:
        return None


def memory_mib(pids: list[int]) -> float:
    """Proportional set size: pages that several processes share are counted once between them."""
    total_kib = 0
    for pid in pids:
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
        except OSError:
            continue
        total_kib += next((int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")), 0)
    return total_kib / 1024


@contextmanager
def beside(look: Callable[[], object], every_s: float) -> Iterator[None]:
    """Look again and again, in a thread, while the block runs; at least once."""
    has_ended = threading.Event()

    def again() -> None:
        look()
        while not has_ended.wait(every_s):
            look()

    thread = threading.Thread(target=again, daemon=True)
    thread.start()
    try:
        yield
    finally:
        has_ended.set()
        thread.join()


@contextmanager
def sampled_memory(pid: int, *, every_s: float) -> Iterator[list[float]]:
    """The memory of the process and its descendants in MiB, sampled while the block runs."""
    samples: list[float] = []
    with beside(lambda: samples.append(memory_mib(tree(pid))), every_s):
        yield samples
