"""The last step before the child process: cut it off, bind its life to ours, limit it, become it.

    python -I -S guard.py '{"isolation": …, "folder": …, "limits": {…}, "parent_pid": …,
                            "shared_memory": {"size": …, "own": [right…], "not_own": [right…]},
                            "files": [[place, [right…]]…], "calls": hexadecimal | null,
                            "network": "none" | "own" | "shared"}' COMMAND…

Runs as a script, with the standard library alone, so that it costs milliseconds and imports nothing of
ours. Levels of isolation, strongest first:

    full      user, network, process, IPC and mount namespaces: no network but a dead loopback, no process
              of others to see, every file system read-only but the job's folder, and all descendants die
              with the first one
    network   user and network namespaces: no network; a mount namespace with a /dev/shm of its own, where
              it can be made
    none      where the kernel allows neither

/dev/shm opens with the rights `own` where it is the child's own, with `not_own` (mostly none) elsewhere.

`network` own (not on `none`): the loopback of its own network is up, for one job in several processes;
shared: it has the network of the machine, on every level.

Below `full` this process stays beside the program, leading its session: it outlives the worker by a moment,
to kill all the others, which no signal at a parent's death reaches.

On every level: dies with the worker, no new privileges, no capabilities in the namespace, limits, no core
dumps; no file but those of the list (Landlock, where the kernel has it) and no system call that the program
refuses (seccomp, see syscall_filter). Raises nothing: it exits with SETUP_FAILED and a line on stderr.

Its standard input is a pipe to the supervisor: `+` right before it becomes the program, `-` where it cannot.
The program has no end of that pipe, so whether it ever ran is not its word.
"""

import ctypes
import errno
import fcntl
import json
import os
import resource
import select
import signal
import socket
import stat
import struct
import sys
from typing import Any, NoReturn

SETUP_FAILED = 121
_report = -1
"""Of the pipe to the supervisor; only processes that become the program, or have yet to fork it, have it."""

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
_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_CAPBSET_DROP = 1, 22, 24
_PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 36, 38
_SECCOMP_MODE_FILTER = 2
_SYS_MOUNT_SETATTR, _AT_FDCWD, _AT_RECURSIVE, _MOUNT_ATTR_RDONLY = 442, -100, 0x8000, 1
_SYS_LANDLOCK_CREATE_RULESET, _SYS_LANDLOCK_ADD_RULE, _SYS_LANDLOCK_RESTRICT_SELF = 444, 445, 446
_LANDLOCK_GET_VERSION, _LANDLOCK_PATH_BENEATH = 1, 1
_FILE_RIGHTS = (
    "execute", "write_file", "read_file", "read_dir", "remove_dir", "remove_file", "make_char", "make_dir",
    "make_reg", "make_sock", "make_fifo", "make_block", "make_sym", "refer", "truncate", "ioctl_dev",
)  # fmt: skip
"""In the order of the kernel's bits; older versions know only the first of them."""
_NUM_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}
_OF_A_FILE = ("execute", "write_file", "read_file", "truncate", "ioctl_dev")
_TCP_FROM_VERSION, _SCOPES_FROM_VERSION = 4, 6
_SHARED_MEMORY = "/dev/shm"  # noqa: S108 - the kernel's place for it
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1
_OF_SOCKETS = {
    "ipv4/tcp_rmem": "4096 65536 212992",
    "ipv4/tcp_wmem": "4096 65536 212992",
    "core/somaxconn": "64",
}
"""Buffers grow to what the supervisor counts for a socket; few connections wait for somebody to take them."""

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    rest = (kind.encode() if kind else None, ctypes.c_ulong(flags), data.encode() if data else None)
    result = _libc.mount(source.encode(), target.encode(), *rest)
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


def _enter_namespaces(isolation: str, network: str) -> None:
    uid, gid = os.geteuid(), os.getegid()
    flags = _NAMESPACES[isolation] & ~(_CLONE_NEWNET if network == "shared" else 0)
    if not flags:
        return
    _checked(_libc.unshare(ctypes.c_int(flags)), "unshare")
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


def _raise_loopback() -> None:
    """The only interface of the network namespace, which leads nowhere but back into it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", _IFF_UP))
    for name, text in _OF_SOCKETS.items():
        with open(f"/proc/sys/net/{name}", "w", encoding="ascii") as file:
            file.write(text)


def _close_file_systems(folder: str, shared_memory: str) -> None:
    """Everything read-only but `folder`; a private, small /dev/shm."""
    _mount("none", "/", None, _MS_REC | _MS_PRIVATE)
    _mount(folder, folder, None, _MS_BIND)
    _set_read_only("/", is_read_only=True, recursive=True)
    _set_read_only(folder, is_read_only=False, recursive=False)
    _mount_shared_memory(shared_memory)
    os.chdir(folder)  # the working folder of before is the read-only mount


def _mount_shared_memory(size: str) -> None:
    if os.path.isdir(_SHARED_MEMORY):
        _mount("tmpfs", _SHARED_MEMORY, "tmpfs", _MS_NOSUID | _MS_NODEV, f"size={size},mode=1777")


def _owns_shared_memory(isolation: str, folder: str, size: str) -> bool:
    """See to a private, small /dev/shm; False where the kernel allows none."""
    if isolation == "full":
        _close_file_systems(folder, size)
        return True
    if isolation == "none":
        return False
    try:
        _checked(_libc.unshare(ctypes.c_int(_CLONE_NEWNS)), "unshare")
        _mount("none", "/", None, _MS_REC | _MS_PRIVATE)
        _mount_shared_memory(size)
    except OSError:
        return False
    return True


def _die_with_parent(by: signal.Signals = signal.SIGKILL) -> None:
    _checked(_libc.prctl(_PR_SET_PDEATHSIG, by, 0, 0, 0), "prctl")


def _landlock(number: int, *arguments: object) -> int:
    result = int(_libc.syscall(ctypes.c_long(number), *arguments))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"landlock: {os.strerror(number)}")
    return result


def _restrict_files(rules: list[tuple[str, list[str]]], *, denies_tcp: bool) -> None:
    """Nothing opens but what `rules` name; no TCP; no signal and no abstract socket beyond the child's own.

    Does nothing where the kernel has no Landlock.
    """
    try:
        version = _landlock(_SYS_LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), _LANDLOCK_GET_VERSION)
    except OSError as error:
        if error.errno in {errno.ENOSYS, errno.EOPNOTSUPP}:
            return
        raise
    known = _FILE_RIGHTS[: _NUM_FILE_RIGHTS.get(version, len(_FILE_RIGHTS))]
    handled = (ctypes.c_uint64 * 3)((1 << len(known)) - 1, 0b11 if denies_tcp else 0, 0b11)
    size_bytes = 8 if version < _TCP_FROM_VERSION else 16 if version < _SCOPES_FROM_VERSION else 24
    ruleset = _landlock(
        _SYS_LANDLOCK_CREATE_RULESET, ctypes.byref(handled), ctypes.c_size_t(size_bytes), ctypes.c_uint(0)
    )
    for place, rights in rules:
        _allow(ruleset, place, {right for right in rights if right in known})
    _landlock(_SYS_LANDLOCK_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint(0))
    os.close(ruleset)


def _allow(ruleset: int, place: str, rights: set[str]) -> None:
    descriptor = os.open(place, os.O_PATH | os.O_CLOEXEC)
    if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
        rights = rights.intersection(_OF_A_FILE)
    bits = sum(1 << _FILE_RIGHTS.index(right) for right in rights)
    beneath = bits.to_bytes(8, sys.byteorder) + descriptor.to_bytes(4, sys.byteorder)
    _landlock(
        _SYS_LANDLOCK_ADD_RULE,
        ctypes.c_int(ruleset),
        ctypes.c_int(_LANDLOCK_PATH_BENEATH),
        ctypes.c_char_p(beneath),
        ctypes.c_uint(0),
    )
    os.close(descriptor)


def _filter_calls(program: bytes) -> None:
    class Program(ctypes.Structure):
        _fields_ = (("num_lines", ctypes.c_ushort), ("lines", ctypes.c_char_p))

    filled = Program(len(program) // 8, program)
    _checked(_libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(filled), 0, 0), "seccomp")


def _become(command: list[str], options: dict[str, Any]) -> NoReturn:
    for name, value in {"CORE": 0, **options["limits"]}.items():
        number = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(number)[1]
        bounded = value if hard == resource.RLIM_INFINITY else min(value, hard)
        # SIGXCPU at the soft limit says why; SIGKILL follows two seconds later for who ignores it.
        room = bounded + 2 if name == "CPU" and hard == resource.RLIM_INFINITY else bounded
        resource.setrlimit(number, (bounded, room))
    for capability in range(64):
        _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)  # refused where we have none: not needed then
    _checked(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl")
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    _restrict_files(options["files"], denies_tcp=options["network"] == "none")
    if options["calls"] is not None:
        _filter_calls(bytes.fromhex(options["calls"]))
    _tell(b"+")
    os.execvpe(command[0], command, os.environ)  # noqa: S606


def _tell(what: bytes) -> None:
    try:
        os.write(_report, what)
    except OSError:
        return  # nobody listens


def _take_report() -> None:
    """Keep the pipe where the program cannot come by it; the program's standard input is empty."""
    global _report  # noqa: PLW0603
    _report = fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, 3)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)


def _end_as(status: int) -> NoReturn:
    """End the way the program ended, signal included."""
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        signal.signal(-code, signal.SIG_DFL) if -code not in {signal.SIGKILL, signal.SIGSTOP} else None
        os.kill(os.getpid(), -code)
    os._exit(code if code >= 0 else 128 - code)


def _forward_terminate(pid: int) -> None:
    signal.signal(signal.SIGTERM, lambda *_: os.kill(pid, signal.SIGTERM))


def _run_beside(options: dict[str, Any], command: list[str]) -> NoReturn:
    """Keep watch outside of the program's limits, so that it can neither prevent the end nor outlive it."""
    keeper = os.getpid()
    signal.signal(signal.SIGUSR1, lambda *_: os.killpg(0, signal.SIGKILL))
    _die_with_parent(by=signal.SIGUSR1)
    if os.getppid() != options["parent_pid"]:
        os._exit(SETUP_FAILED)
    # Orphans come to us, not to the machine's first process: the time that they used stays in the session.
    _checked(_libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl")
    program = os.fork()
    if program == 0:
        try:
            signal.signal(signal.SIGUSR1, signal.SIG_DFL)
            _die_with_parent()
            if os.getppid() != keeper:
                os._exit(SETUP_FAILED)
            _become(command, options)
        except BaseException as error:  # noqa: BLE001 - whatever it is, this copy of the process must end here
            _refuse(error)
    os.close(_report)
    _forward_terminate(program)
    while True:
        pid, status = os.wait()
        if pid == program:
            _end_as(status)


def _run_init(options: dict[str, Any], command: list[str], report_fd: int, alive_fd: int) -> NoReturn:
    """Process 1 of the namespace: starts the program, reaps, and takes everything along when it ends."""
    _die_with_parent()
    if select.select([alive_fd], [], [], 0)[0]:
        os._exit(SETUP_FAILED)  # the guard died before we were bound to it
    _mount("proc", "/proc", "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    _set_read_only("/proc", is_read_only=True, recursive=False)  # where the worker is root, so are its files
    program = os.fork()
    if program == 0:
        os.close(report_fd)
        os.close(alive_fd)
        _become(command, options)
    os.close(_report)
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
    os.close(_report)
    _forward_terminate(init)
    _, status = os.waitpid(init, 0)
    reported = os.read(report_read, 4)
    _end_as(int.from_bytes(reported, "little") if len(reported) == 4 else status)


def _refuse(error: BaseException) -> NoReturn:
    _tell(b"-")
    os.write(2, f"guard: {type(error).__name__}: {error}\n".encode())
    os._exit(SETUP_FAILED)


def main(arguments: list[str]) -> NoReturn:
    """See the module's docstring."""
    try:
        _take_report()
        options = json.loads(arguments[0])
        command = arguments[1:]
        os.umask(0o077)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # this process ends the way the program ended
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write("1000")  # where memory runs out all the same, the kernel takes a child before others
        _enter_namespaces(options["isolation"], options["network"])
        if options["network"] == "own":
            _raise_loopback()
        _die_with_parent()  # after the namespaces: a change of credentials clears it
        if os.getppid() != options["parent_pid"]:
            os._exit(SETUP_FAILED)
        shared = options["shared_memory"]
        owns = _owns_shared_memory(options["isolation"], options["folder"], shared["size"])
        rights = shared["own" if owns else "not_own"]
        if rights and os.path.isdir(_SHARED_MEMORY):
            options["files"].append([_SHARED_MEMORY, rights])
        if options["isolation"] == "full":
            _run_in_pid_namespace(options, command)
        _run_beside(options, command)
    except (OSError, ValueError, KeyError) as error:
        _refuse(error)


if __name__ == "__main__":
    main(sys.argv[1:])
