"""A script that stands between us and one server: when we are gone, however we went, so is the server.

    python -I -S guard.py '{"watch_fd": 7, "status_fd": 9, "stop_signal": 2, "grace_s": 10, …}' COMMAND…

It holds the read end of a pipe whose write end only our process holds. End of file there (we exited, crashed
or were killed), or SIGTERM, means: stop signal, grace, then SIGKILL to everything that descends from the
command, also what moved to a session of its own. The command gets SIGKILL from the kernel should the guard
itself be killed (Linux). When the command ends, the guard removes what it left behind and ends alike.

Standard library only and no import of ours: it starts in some ten milliseconds. On macOS there is no
subreaper and no parent-death signal: there, killing the guard itself leaves the server, and descendants are
found by process group alone.
"""

import contextlib
import ctypes
import json
import os
import pwd
import select
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import TypedDict

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_CLONE_NEWUSER = 0x10000000
_POLL_S = 0.5
_EXIT_CANNOT_START = 127

IS_LINUX = sys.platform == "linux"


def unprivileged_uid() -> int:
    """A user id that is not root and has a name, which PostgreSQL asks for."""
    with contextlib.suppress(KeyError):
        return pwd.getpwnam("nobody").pw_uid
    return next(entry.pw_uid for entry in pwd.getpwall() if entry.pw_uid != 0)


def _prctl(option: int, value: int) -> None:
    if IS_LINUX:
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def _become(identity: str) -> None:
    """In the child, before exec: `as_is`; `user_namespace`: root that the server sees as nobody, so that it
    keeps root's access to files; `set_user`: nobody itself. Raises OSError."""
    uid = unprivileged_uid()
    if identity == "user_namespace":
        if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWUSER) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} 0 1"), ("gid_map", f"{uid} 0 1")):
            Path(f"/proc/self/{name}").write_text(text, encoding="ascii")
    elif identity == "set_user":
        os.setgroups([])
        os.setgid(pwd.getpwuid(uid).pw_gid)
        os.setuid(uid)


def _start(command: list[str], identity: str, inherited: list[int]) -> int:
    guard_pid = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        for descriptor in inherited:
            os.close(descriptor)
        _become(identity)
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # after the change of identity, which clears it
        if os.getppid() != guard_pid:
            os._exit(_EXIT_CANNOT_START)
        os.execvp(command[0], command)  # noqa: S606 - the very purpose
    except OSError as error:
        os.write(2, f"{command[0]}: cannot start as {identity}: {error}\n".encode())
    finally:
        os._exit(_EXIT_CANNOT_START)


def _children() -> set[int]:
    """Every process below this one (Linux)."""
    parent_of: dict[int, int] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                stat = Path(entry.path, "stat").read_text(encoding="utf-8", errors="replace")
                parent_of[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    found: set[int] = set()
    newest = {os.getpid()}
    while newest:
        newest = {pid for pid, parent in parent_of.items() if parent in newest} - found
        found |= newest
    return found


def _kill_descendants(group: int) -> None:
    """SIGKILL to all that is left, again until nothing is: a process may fork while we look."""
    for _ in range(200):
        with contextlib.suppress(OSError):
            os.killpg(group, signal.SIGKILL)
        remaining = _children() if IS_LINUX else set()
        for pid in remaining:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not remaining:
            return
        time.sleep(0.01)


class _Watch:
    """Waits for whichever comes first: the command ends, we are told to stop, or our parent is gone."""

    def __init__(self, watch_fd: int, parent_pid: int) -> None:
        self._watch_fd = watch_fd
        self._parent_pid = parent_pid
        self._wake_fd, wake_write = os.pipe()
        os.set_blocking(self._wake_fd, False)
        os.set_blocking(wake_write, False)
        self.inherited = [watch_fd, self._wake_fd, wake_write]
        self._asked = False
        signal.set_wakeup_fd(wake_write)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.signal(signal.SIGTERM, self._ask)
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        self._asked = True

    def must_stop(self) -> bool:
        return self._asked or os.getppid() != self._parent_pid

    def wait(self, timeout_s: float) -> bool:
        """Sleep until something may have happened; True when the pipe says that our parent is gone."""
        readable, _, _ = select.select([self._watch_fd, self._wake_fd], [], [], timeout_s)
        if self._wake_fd in readable:
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake_fd, 512)
        return self._watch_fd in readable and os.read(self._watch_fd, 1) == b""


def _ended(pid: int) -> int | None:
    """The wait status of the command, once it ended. Reaps adopted orphans on the way."""
    with contextlib.suppress(ChildProcessError):
        while True:
            done, status = os.waitpid(-1, os.WNOHANG)
            if done == pid:
                return status
            if done == 0:
                return None
    return 0


class Options(TypedDict):
    """What `app.local.processes` asks of a guard. `held_fds` stay open here, not in the command."""

    watch_fd: int
    status_fd: int
    held_fds: list[int]
    stop_signal: int
    grace_s: float
    identity: str


def main(options: Options, command: list[str]) -> int:
    """Run the command to its end, ours or its own. Returns the exit code, as a shell would say it."""
    parent_pid = os.getppid()
    stop_signal, grace_s, status_fd = options["stop_signal"], options["grace_s"], options["status_fd"]
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    watch = _Watch(options["watch_fd"], parent_pid)
    pid = _start(command, options["identity"], [*watch.inherited, status_fd, *options["held_fds"]])
    os.write(status_fd, f"{pid}\n".encode())
    os.close(status_fd)
    kill_at: float | None = None
    status = _ended(pid)
    while status is None:
        orphaned = watch.wait(_POLL_S if kill_at is None else 0.05)
        if kill_at is None and (orphaned or watch.must_stop()):
            kill_at = time.monotonic() + grace_s
            with contextlib.suppress(OSError):
                os.kill(pid, stop_signal)
        if kill_at is not None and time.monotonic() >= kill_at:
            _kill_descendants(pid)
            return 128 + signal.SIGKILL
        status = _ended(pid)
    _kill_descendants(pid)
    return os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1]), sys.argv[2:]))
