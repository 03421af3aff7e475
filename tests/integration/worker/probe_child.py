"""What a child finds when it tries everything: printed as one JSON object. Standard library alone.

    python probe_child.py CALLS PLACES PARENT_PID FOLDER
    (JSON: "refused" and "of others" → name → number, "clone" → number; name → path; number)

It is run where the real child is run, and tries what a hostile one would.
"""

import ctypes
import errno
import fcntl
import json
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

MIB = 2**20
LIBC = ctypes.CDLL(None, use_errno=True)


def outcome(attempt: Callable[[], Any]) -> str:
    """The name of the error, or "done"."""
    try:
        attempt()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error.errno))
    return "done"


def syscall(number: int, *arguments: int) -> str:
    ctypes.set_errno(0)
    result = LIBC.syscall(ctypes.c_long(number), *(ctypes.c_long(argument) for argument in arguments))
    return "done" if result >= 0 else errno.errorcode[ctypes.get_errno()]


def prctl(option: int, value: int) -> str:
    ctypes.set_errno(0)
    result = LIBC.prctl(option, ctypes.c_ulong(value), 0, 0, 0)
    return "done" if result >= 0 else errno.errorcode[ctypes.get_errno()]


def look(calls: dict[str, Any], places: dict[str, str], parent_pid: int) -> dict[str, Any]:
    here = Path.cwd()
    refused, of_others = calls["refused"], calls["of others"]
    seen: dict[str, Any] = {
        "status": Path("/proc/self/status").read_text(),
        "limits": Path("/proc/self/limits").read_text(),
        "oom_score_adj": Path("/proc/self/oom_score_adj").read_text(),
        "environment": dict(os.environ),
        "cwd": str(here),
        "descriptors": {
            name: os.readlink(f"/proc/self/fd/{name}")
            for name in os.listdir("/proc/self/fd")
            if os.path.exists(f"/proc/self/fd/{name}")
        },
        "namespaces": {
            name: os.readlink(f"/proc/self/ns/{name}") for name in ("net", "pid", "mnt", "ipc", "user")
        },
        "interfaces": [
            line.split(":")[0].strip() for line in Path("/proc/net/dev").read_text().splitlines()[2:]
        ],
        "processes": [name for name in os.listdir("/proc") if name.isdecimal()],
        "mounts": Path("/proc/self/mounts").read_text(),
        "calls": {name: syscall(number, 0, 0, 0, 0, 0, 0) for name, number in refused.items()},
    }
    seen["of others"] = {
        name: syscall(number, parent_pid, 0, 0, 0, 0, 0) for name, number in of_others.items()
    } | {
        "priority": outcome(lambda: os.setpriority(os.PRIO_PROCESS, parent_pid, 1)),
        "priority of its user": outcome(lambda: os.setpriority(os.PRIO_USER, 0, 1)),
        "priority of its group": outcome(lambda: os.setpriority(os.PRIO_PGRP, 0, 1)),
    }
    seen["of itself"] = {
        "limits": outcome(lambda: resource.prlimit(0, resource.RLIMIT_NOFILE)),
        "cores": outcome(lambda: os.sched_setaffinity(0, os.sched_getaffinity(0))),
        "priority": outcome(lambda: os.setpriority(os.PRIO_PROCESS, 0, 19)),
    }
    seen["attributes"] = _change_attributes(places["neighbour's upload"], places["neighbour's folder"])
    seen["pipe"] = {
        "grow": outcome(lambda: fcntl.fcntl(os.pipe()[1], fcntl.F_SETPIPE_SZ, MIB)),
        "splice": outcome(lambda: os.splice(os.open("/dev/zero", os.O_RDONLY), os.pipe()[1], 1)),
    }
    seen["sockets"] = {
        name: outcome(lambda family=family: socket.socket(family, socket.SOCK_STREAM).close())
        for name, family in (
            ("inet", socket.AF_INET),
            ("inet6", socket.AF_INET6),
            ("unix", socket.AF_UNIX),
            ("netlink", socket.AF_NETLINK),
            ("vsock", socket.AF_VSOCK),
            ("packet", socket.AF_PACKET),
        )
    }
    seen["sockets"]["pair"] = outcome(lambda: [one.close() for one in socket.socketpair()])
    seen["new_user_namespace_by_clone"] = syscall(calls["clone"], 0x10000000 | signal.SIGCHLD, 0, 0, 0, 0)
    seen["outlive_the_supervisor"] = prctl(1, 0)
    seen["hide_what_is_open"] = prctl(4, 0)
    seen["shared memory"] = _share(places.pop("shared memory"))
    seen["read"] = {name: outcome(lambda place=place: _open(place)) for name, place in places.items()}
    seen["parent"] = {
        name: outcome(lambda name=name: os.close(os.open(f"/proc/{parent_pid}/{name}", os.O_RDONLY)))
        for name in ("environ", "mem", "maps", "fd/0")
    }
    seen["write"] = {
        "own": outcome(lambda: (here / "tried").write_text("x")),
        "above": outcome(lambda: (here.parent / "tried").write_text("x")),
        "core_pattern": outcome(lambda: os.close(os.open("/proc/sys/kernel/core_pattern", os.O_WRONLY))),
        "oom_score_adj": outcome(lambda: Path("/proc/self/oom_score_adj").write_text("0")),
        "usr": outcome(lambda: Path("/usr/tried").write_text("x")),
        "device": outcome(lambda: os.mknod(here / "device", 0o20600, os.makedev(1, 3))),
    }
    script = here / "script"
    _make_program(script, b"#!/bin/sh\ntrue\n")
    program = here / "tmp" / "program"
    _make_program(program, Path("/bin/true").read_bytes())
    seen["run"] = {
        "own program": outcome(lambda: subprocess.run([str(program)], check=False)),
        "own": outcome(lambda: subprocess.run([str(script)], check=False)),
        "program": outcome(lambda: subprocess.run(["/bin/true"], check=False)),
    }
    return seen


def _change_attributes(file: str, folder: str) -> dict[str, str]:
    """Of a neighbour, who is the same user."""
    return {
        "mode": outcome(lambda: os.chmod(file, 0o666)),
        "mode of a folder": outcome(lambda: os.chmod(folder, 0)),
        "owner": outcome(lambda: os.chown(file, os.getuid(), os.getgid())),
        "times": outcome(lambda: os.utime(file, (0, 0))),
        "names": outcome(lambda: os.setxattr(file, "user.x", b"y")),
    }


def _share(others: str) -> dict[str, str]:
    """In /dev/shm: what somebody else has there, and something of its own."""

    def find() -> None:
        if os.listdir("/dev/shm") in ([], ["of-the-child"]):
            raise PermissionError(errno.EACCES, "nothing is there")

    return {
        "neighbour's": outcome(lambda: os.close(os.open(others, os.O_WRONLY))),
        "own": outcome(lambda: Path("/dev/shm/of-the-child").write_text("x")),
        "names": outcome(lambda: os.listdir("/dev/shm")),
        "found": outcome(find),
    }


def _make_program(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o700), "wb") as file:
        file.write(content)


def _open(place: str) -> None:
    os.listdir(place) if os.path.isdir(place) else os.close(os.open(place, os.O_RDONLY))


if __name__ == "__main__":
    arguments = [json.loads(argument) for argument in sys.argv[1:4]]
    sys.stdout.write(json.dumps(look(*arguments)))
