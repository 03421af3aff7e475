"""One child process: started cut off and limited, listened to, measured, stopped as a group.

It is the process that touches hostile bytes and may crash; nothing it does may hurt the supervisor. Knows
no job: whoever uses it decides when to stop and what its end means.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sanitizer.progress import ProgressEvent
from worker.child_output import CappedLog, EventReader, pump

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_REAP_TIMEOUT_S = 10.0


@dataclass(frozen=True, kw_only=True)
class Usage:
    num_processes: int
    resident_bytes: int


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

    def close(self) -> int:
        """Kill what is left, reap it, take in its last words. Returns the exit status."""
        self.kill()
        status = self._process.wait(timeout=_REAP_TIMEOUT_S)
        self._is_closed = True
        for thread in self._pumps:
            thread.join(timeout=2.0)
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                with contextlib.suppress(OSError, ValueError):
                    stream.close()
        self._log.close()
        return status


def _session_members(session: int) -> list[int]:
    members = []
    for name in os.listdir("/proc"):
        if name.isdecimal():
            with contextlib.suppress(OSError, IndexError, ValueError):
                text = Path(f"/proc/{name}/stat").read_text(encoding="utf-8", errors="replace")
                if int(text.rpartition(")")[2].split()[3]) == session:
                    members.append(int(name))
    return members


def _resident_bytes(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * _PAGE_BYTES
    except (OSError, IndexError, ValueError):
        return 0
