"""What the processes of one session use and hold, as the kernel tells it: read from /proc, nothing else.

A session is everything that one child started; none of it can leave: see syscall_filter. Whoever is
being measured may be hostile: what cannot be measured exactly is counted at the most that it can be.
"""

import contextlib
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

MAX_DESCRIPTORS = 20_000
"""Of the whole session; loaders have a few dozen each. More are not counted on."""
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_COUNTED = ("VmRSS", "VmSwap", "VmPTE")
"""In memory, swapped out, and the tables that say where: a page that only reads as zeros costs just those."""
_THREAD_BYTES = 32 * 1024
"""What the kernel keeps of each thread, roughly: its stack, its registers, its entry in the tables."""
_PIPE_BYTES = 64 * 1024
"""A pipe's default, which the filter does not let grow; nor that of a socket."""
_IN_MEMORY = ("/memfd:", "/dev/shm/")  # noqa: S108 - the kernel's names for what lies in memory


@dataclass(frozen=True, kw_only=True)
class Member:
    """One process; `cpu_s` is its own and that of its ended children that it waited for."""

    pid: int
    is_alive: bool
    num_threads: int
    cpu_s: float


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Of a whole session at one moment."""

    num_processes: int
    num_descriptors: int
    """Never more than MAX_DESCRIPTORS + 1: there the counting ends."""
    memory_bytes: int
    """Of processes, of files in memory that are open, of /dev/shm where it is the session's own; pipes and
    sockets as if each were full. At most so much; nearly exact where that is over the limit that `usage` was
    given: what processes share by a fork counts once then."""
    unnamed_disk_bytes: int
    """Of files that are open and have no name any more."""
    cpu_s: float
    """Falls when a process ends whose parent does not care how."""


def members(session: int) -> list[Member]:
    """All of a session, also those that ended and were not waited for."""
    return list(_members(session))


def is_left_alone(session: int) -> bool:
    return not any(member.is_alive for member in _members(session))


def usage(session: int, memory_limit_bytes: int | None = None) -> Usage:
    """What the session uses now. Raises nothing for processes that end meanwhile.

    A loader that was forked from a large process shares its memory, and is as large by itself. To count what
    is shared once the kernel walks every page, so that is asked only where memory counted for each process is
    over the limit.
    """
    found = members(session)
    living = [member for member in found if member.is_alive]
    held = _held([member.pid for member in living])
    process_bytes = sum(_process_bytes(member) for member in living)
    if memory_limit_bytes is not None and process_bytes + held.memory_bytes > memory_limit_bytes:
        process_bytes = sum(_own_and_shared_bytes(member) for member in living)
    return Usage(
        num_processes=len(living),
        num_descriptors=held.num_descriptors,
        memory_bytes=process_bytes + held.memory_bytes,
        unnamed_disk_bytes=held.disk_bytes,
        cpu_s=sum(member.cpu_s for member in found),
    )


def _members(session: int) -> Iterator[Member]:
    for name in os.listdir("/proc"):
        if name.isdecimal():
            with contextlib.suppress(OSError, IndexError, ValueError):
                text = Path(f"/proc/{name}/stat").read_text(encoding="utf-8", errors="replace")
                reported = text.rpartition(")")[2].split()  # from the third field of proc_pid_stat(5)
                if int(reported[3]) == session:
                    yield Member(
                        pid=int(name),
                        is_alive=reported[0] not in "ZX",
                        num_threads=int(reported[17]),
                        cpu_s=sum(map(int, reported[11:15])) / _TICKS_PER_S,
                    )


def _process_bytes(member: Member) -> int:
    reported = _sizes(member.pid, "status")
    return member.num_threads * _THREAD_BYTES + sum(reported.get(name, 0) for name in _COUNTED)


def _own_and_shared_bytes(member: Member) -> int:
    """As `_process_bytes`, but of memory in RAM that n processes share the n-th part."""
    exact = _sizes(member.pid, "smaps_rollup")
    if "Pss" not in exact:
        return _process_bytes(member)
    reported = _sizes(member.pid, "status")
    return _process_bytes(member) - reported.get("VmRSS", 0) + exact["Pss"]


def _sizes(pid: int, file: str) -> dict[str, int]:
    """Name and bytes of each line that gives a size. Empty for a process that ended."""
    found: dict[str, int] = {}
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/{file}").read_text(errors="replace").splitlines():
            name, _, rest = line.partition(":")
            size, _, unit = rest.strip().partition(" ")
            if unit == "kB" and size.isdecimal():
                found[name] = int(size) * 1024
    return found


_Kind = Literal["disk", "memory", "buffer"]


@dataclass(frozen=True, kw_only=True)
class _Held:
    """What no folder shows and no process has mapped."""

    num_descriptors: int
    disk_bytes: int
    memory_bytes: int


def _held(pids: Sequence[int]) -> _Held:
    files: dict[_Kind, dict[tuple[int, int], int]] = {"disk": {}, "memory": {}, "buffer": {}}
    private_bytes, num_descriptors = 0, 0
    for pid in pids:
        private_bytes = max(private_bytes, _private_shared_memory_bytes(pid))
        for name in _descriptors(pid)[: MAX_DESCRIPTORS + 1 - num_descriptors]:
            num_descriptors += 1
            place = f"/proc/{pid}/fd/{name}"
            with contextlib.suppress(OSError):
                status = os.stat(place)
                kind, size_bytes = _kept_by(place, status)
                files[kind][status.st_dev, status.st_ino] = size_bytes
    return _Held(
        num_descriptors=num_descriptors,
        disk_bytes=sum(files["disk"].values()),
        # a private /dev/shm holds those of its files that are open, too
        memory_bytes=max(sum(files["memory"].values()), private_bytes) + sum(files["buffer"].values()),
    )


def _kept_by(place: str, status: os.stat_result) -> tuple[_Kind, int]:
    """What an open file keeps from being freed, in bytes; nothing where its name shows it anyway."""
    if stat.S_ISFIFO(status.st_mode):
        return "buffer", _PIPE_BYTES
    if stat.S_ISSOCK(status.st_mode):
        return "buffer", _socket_bytes()
    if not stat.S_ISREG(status.st_mode):
        return "disk", 0
    if os.readlink(place).startswith(_IN_MEMORY):
        return "memory", status.st_blocks * 512
    return "disk", status.st_blocks * 512 if status.st_nlink == 0 else 0


def _descriptors(pid: int) -> list[str]:
    try:
        return os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return []  # ended meanwhile; while it lives it cannot close them to us: see the filter


@cache
def _socket_bytes() -> int:
    """The most that can wait in one socket: its default, and one more message as large."""
    try:
        default = int(Path("/proc/sys/net/core/wmem_default").read_text(encoding="ascii"))
    except (OSError, ValueError):
        default = 212_992
    return 2 * default


def _private_shared_memory_bytes(pid: int) -> int:
    """What lies in a process's /dev/shm, where that is not the machine's."""
    try:
        place = f"/proc/{pid}/root/dev/shm"
        if os.stat(place).st_dev == os.stat("/dev/shm").st_dev:  # noqa: S108
            return 0
        reported = os.statvfs(place)
    except OSError:
        return 0
    return (reported.f_blocks - reported.f_bfree) * reported.f_frsize
