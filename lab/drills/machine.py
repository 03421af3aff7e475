"""What processes use, read from /proc: processor time and memory of a process and all below it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def tree(pid: int) -> list[int]:
    """The process and its descendants, as far as they still run."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and (fields := _stat(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
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


@dataclass
class MemorySamples:
    """In MiB, one every tenth of a second."""

    mib: list[float] = field(default_factory=list)

    @property
    def growth_mib(self) -> float:
        """The highest over the first."""
        return max(self.mib) - self.mib[0] if self.mib else 0.0


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
def sampled_memory(pid: int, *, every_s: float = 0.1) -> Iterator[MemorySamples]:
    """Sample the memory of the process and its descendants while the block runs."""
    samples = MemorySamples()
    with beside(lambda: samples.mib.append(memory_mib(tree(pid))), every_s):
        yield samples
