"""The last step before the child process: cut it off, bind its life to ours, limit it, become it.

    python -I -S guard.py '{"isolation": …, "folder": …, "limits": {…}, "parent_pid": …}' COMMAND…

Runs as a script, with the standard library alone, so that it costs milliseconds and imports nothing of
ours. Levels of isolation, strongest first:

    full      user, network, process, IPC and mount namespaces: no network but a dead loopback, no process
              of others to see, every file system read-only but the job's folder, and all descendants die
              with the first one
    network   user and network namespaces: no network
    none      where the kernel allows neither

On every level: dies with its parent (PR_SET_PDEATHSIG), no new privileges, no capabilities in the
namespace, resource limits, no core dumps. Raises nothing to its caller: it exits with SETUP_FAILED and a
line on stderr.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import select
import signal
import sys
from typing import Any, NoReturn

SETUP_FAILED = 121

_CLONE_NEWNS = 0x00020000
_CLONE_NEWIPC = 0x08000000
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWPID = 0x20000000
_CLONE_NEWNET = 0x40000000
_NAMESPACES = {
    "full": _CLONE_NEWUSER | _CLONE_NEWNET | _CLONE_NEWPID | _CLONE_NEWIPC | _CLONE_NEWNS,
    "network": _CLONE_NEWUSER | _CLONE_NEWNET,
    "none": 0,
}
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_BIND, _MS_REC, _MS_PRIVATE = 2, 4, 8, 4096, 16384, 1 << 18
_PR_SET_PDEATHSIG, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 1, 24, 38
_SYS_MOUNT_SETATTR, _AT_FDCWD, _AT_RECURSIVE, _MOUNT_ATTR_RDONLY = 442, -100, 0x8000, 1

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    result = _libc.mount(
        source.encode(),
        target.encode(),
        kind.encode() if kind else None,
        ctypes.c_ulong(flags),
        data.encode() if data else None,
    )
    _checked(result, f"mount {target}")


def _set_read_only(path: str, *, is_read_only: bool, recursive: bool) -> None:
    change = (_MOUNT_ATTR_RDONLY, 0) if is_read_only else (0, _MOUNT_ATTR_RDONLY)
    attributes = (ctypes.c_uint64 * 4)(*change, 0, 0)
    result = _libc.syscall(
        ctypes.c_long(_SYS_MOUNT_SETATTR),
        ctypes.c_int(_AT_FDCWD),
        ctypes.c_char_p(path.encode()),
        ctypes.c_uint(_AT_RECURSIVE if recursive else 0),
        ctypes.byref(attributes),
        ctypes.c_size_t(ctypes.sizeof(attributes)),
    )
    _checked(result, f"mount_setattr {path}")


def _enter_namespaces(isolation: str) -> None:
    uid, gid = os.geteuid(), os.getegid()
    flags = _NAMESPACES[isolation]
    if not flags:
        return
    _checked(_libc.unshare(ctypes.c_int(flags)), "unshare")
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{uid} {uid} 1"),
        ("gid_map", f"{gid} {gid} 1"),
    ):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


def _close_file_systems(folder: str) -> None:
    """Everything read-only but `folder`; a private, small /dev/shm."""
    _mount("none", "/", None, _MS_REC | _MS_PRIVATE)
    _mount(folder, folder, None, _MS_BIND)
    _set_read_only("/", is_read_only=True, recursive=True)
    _set_read_only(folder, is_read_only=False, recursive=False)
    if os.path.isdir("/dev/shm"):  # noqa: S108 - the path is the kernel's, and what we mount is private
        _mount("tmpfs", "/dev/shm", "tmpfs", _MS_NOSUID | _MS_NODEV, "size=25%,mode=1777")  # noqa: S108
    os.chdir(folder)  # the working folder of before is the read-only mount


def _die_with_parent() -> None:
    _checked(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")


def _become(command: list[str], limits: dict[str, int]) -> NoReturn:
    for name, value in {"CORE": 0, **limits}.items():
        number = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(number)[1]
        bounded = value if hard == resource.RLIM_INFINITY else min(value, hard)
        # SIGXCPU at the soft limit says why; SIGKILL follows two seconds later for who ignores it.
        room = bounded + 2 if name == "CPU" and hard == resource.RLIM_INFINITY else bounded
        resource.setrlimit(number, (bounded, room))
    for capability in range(64):
        _libc.prctl(
            _PR_CAPBSET_DROP, capability, 0, 0, 0
        )  # refused where we have none: then it is not needed
    _checked(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl")
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    os.execvpe(command[0], command, os.environ)  # noqa: S606


def _end_as(status: int) -> NoReturn:
    """End the way the program ended, signal included."""
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        signal.signal(-code, signal.SIG_DFL) if -code not in {signal.SIGKILL, signal.SIGSTOP} else None
        os.kill(os.getpid(), -code)
    os._exit(code if code >= 0 else 128 - code)


def _forward_terminate(pid: int) -> None:
    signal.signal(signal.SIGTERM, lambda *_: os.kill(pid, signal.SIGTERM))


def _run_init(options: dict[str, Any], command: list[str], report_fd: int, alive_fd: int) -> NoReturn:
    """Process 1 of the namespace: starts the program, reaps, and takes everything along when it ends."""
    _die_with_parent()
    if select.select([alive_fd], [], [], 0)[0]:
        os._exit(SETUP_FAILED)  # the guard died before we were bound to it
    _mount("proc", "/proc", "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    program = os.fork()
    if program == 0:
        os.close(report_fd)
        os.close(alive_fd)
        _become(command, options["limits"])
    _forward_terminate(program)
    while True:
        pid, status = os.wait()
        if pid == program:
            os.write(report_fd, status.to_bytes(4, "little"))
            os._exit(0)


def _run_in_pid_namespace(options: dict[str, Any], command: list[str]) -> NoReturn:
    report_read, report_write = os.pipe()
    alive_read, alive_write = os.pipe()
    init = os.fork()
    if init == 0:
        os.close(alive_write)
        os.close(report_read)
        try:
            _run_init(options, command, report_write, alive_read)
        except BaseException as error:  # noqa: BLE001 - whatever it is, this copy of the process must end here
            _refuse(error)
    os.close(report_write)
    _forward_terminate(init)
    _, status = os.waitpid(init, 0)
    reported = os.read(report_read, 4)
    _end_as(int.from_bytes(reported, "little") if len(reported) == 4 else status)


def _refuse(error: BaseException) -> NoReturn:
    os.write(2, f"guard: {type(error).__name__}: {error}\n".encode())
    os._exit(SETUP_FAILED)


def main(arguments: list[str]) -> NoReturn:
    """See the module's docstring."""
    try:
        options = json.loads(arguments[0])
        command = arguments[1:]
        os.umask(0o077)
        _enter_namespaces(options["isolation"])
        _die_with_parent()  # after the namespaces: a change of credentials clears it
        if os.getppid() != options["parent_pid"]:
            os._exit(SETUP_FAILED)
        if options["isolation"] == "full":
            _close_file_systems(options["folder"])
            _run_in_pid_namespace(options, command)
        _become(command, options["limits"])
    except (OSError, ValueError, KeyError) as error:
        _refuse(error)


if __name__ == "__main__":
    main(sys.argv[1:])
