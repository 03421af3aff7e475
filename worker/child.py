"""One child process: started cut off and limited, listened to, measured, stopped as a group.

It is the process that touches hostile bytes and may crash; nothing it does may hurt the supervisor. Knows
no job: whoever uses it decides when to stop and what its end means.
"""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sanitizer.progress import ProgressEvent
from worker.child_output import CappedLog, EventReader, pump

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_REAP_TIMEOUT_S = 10.0


_MAX_DESCRIPTORS = 20_000
"""Of the whole session; loaders have a few dozen each."""
_IN_MEMORY = ("/memfd:", "/dev/shm/")  # noqa: S108 - the kernel's names for what lies in memory


@dataclass(frozen=True, kw_only=True)
class Usage:
    num_processes: int
    resident_bytes: int


@dataclass(frozen=True, kw_only=True)
class Held:
    """What no folder shows and no process has mapped: files that are open without a name, and /dev/shm."""

    disk_bytes: int
    memory_bytes: int


class Child:
    """A running child and everything it started. `close` it, whatever happens."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        folder: Path,
        log_path: Path,
        on_event: Callable[[ProgressEvent], None],
    ) -> None:
        self._events = EventReader(on_event)
        self._log = CappedLog(log_path)
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(environment),
            cwd=folder,
            start_new_session=True,
            close_fds=True,
        )
        out, err = self._process.stdout, self._process.stderr
        if out is None or err is None:
            raise RuntimeError("a pipe was asked for")
        self._is_closed = False
        self._pumps = [pump(out, self._events.feed), pump(err, self._log.feed)]

    @property
    def pid(self) -> int:
        """Of the guard, which leads the session of everything that the child starts."""
        return self._process.pid

    def poll(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        return self._process.poll()

    @property
    def is_flood(self) -> bool:
        """It says more, or more nonsense, than anyone should listen to."""
        return self._events.is_flood

    def log_tail(self) -> str:
        return self._log.tail()

    def terminate(self) -> None:
        """Ask the child to save its state and end; only the child itself, which knows what to do."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()

    def kill(self) -> None:
        """End the child and everything it started, now. After `close` its number may be somebody else's."""
        if self._is_closed:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    def usage(self) -> Usage:
        """What all processes of the child's session use together; none can leave it: see the filter."""
        members = _session_members(self._process.pid)
        return Usage(num_processes=len(members), resident_bytes=sum(map(_resident_bytes, members)))

    def held(self) -> Held:
        """What the session keeps outside of its folder; on the level `full` all of its own /dev/shm."""
        return _held(_session_members(self._process.pid))

    def close(self) -> int:
        """Kill what is left, reap it, take in its last words. Returns the exit status.

        Raises TimeoutError where something of it still lives, and so may still change its files.
        """
        self.kill()
        status = self._process.wait(timeout=_REAP_TIMEOUT_S)
        is_alone = self._is_closed or self._is_left_alone()
        self._is_closed = True
        for thread in self._pumps:
            thread.join(timeout=2.0)
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                with contextlib.suppress(OSError, ValueError):
                    stream.close()
        self._log.close()
        if not is_alone:
            raise TimeoutError("a process of the job does not end")
        return status

    def _is_left_alone(self) -> bool:
        """The others were killed too; until the kernel is done with them they may still change a file."""
        deadline = time.monotonic() + _REAP_TIMEOUT_S
        while _session_members(self._process.pid):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True


def _held(members: Sequence[int]) -> Held:
    files: dict[tuple[int, int], tuple[bool, int]] = {}
    private_bytes, num_left = 0, _MAX_DESCRIPTORS
    for pid in members:
        private_bytes = max(private_bytes, _private_shared_memory_bytes(pid))
        for name in _descriptors(pid):
            num_left -= 1
            with contextlib.suppress(OSError):
                status = os.stat(f"/proc/{pid}/fd/{name}")
                is_in_memory = os.readlink(f"/proc/{pid}/fd/{name}").startswith(_IN_MEMORY)
                if stat.S_ISREG(status.st_mode) and (is_in_memory or status.st_nlink == 0):
                    files[status.st_dev, status.st_ino] = (is_in_memory, status.st_blocks * 512)
        if num_left < 0:  # more than we would count: whoever opens so many has something to hide
            return Held(disk_bytes=2**63, memory_bytes=0)
    memory_bytes = sum(size for is_in_memory, size in files.values() if is_in_memory)
    return Held(
        disk_bytes=sum(size for is_in_memory, size in files.values() if not is_in_memory),
        memory_bytes=max(memory_bytes, private_bytes),
    )


def _descriptors(pid: int) -> list[str]:
    try:
        return os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return []  # ended meanwhile; while it lives it cannot close them to us: see the filter


def _private_shared_memory_bytes(pid: int) -> int:
    """What lies in a process's /dev/shm, where that is not the machine's."""
    try:
        place = f"/proc/{pid}/root/dev/shm"
        if os.stat(place).st_dev == os.stat("/dev/shm").st_dev:  # noqa: S108
            return 0
        told = os.statvfs(place)
    except OSError:
        return 0
    return (told.f_blocks - told.f_bfree) * told.f_frsize


def _session_members(session: int) -> list[int]:
    members = []
    for name in os.listdir("/proc"):
        if name.isdecimal():
            with contextlib.suppress(OSError, IndexError, ValueError):
                text = Path(f"/proc/{name}/stat").read_text(encoding="utf-8", errors="replace")
                state, _, _, its_session = text.rpartition(")")[2].split()[:4]
                if int(its_session) == session and state not in "ZX":
                    members.append(int(name))
    return members


def _resident_bytes(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * _PAGE_BYTES
    except (OSError, IndexError, ValueError):
        return 0
