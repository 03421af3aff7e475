"""The system calls a child may make, as the program that the kernel runs before each of its calls.

An allowlist (`allowed_calls`): a call that nobody thought of is denied, those that kernels get next
year too. Denied is so what reaches outside (sockets), into other processes and their files, into the kernel's
seldom-walked corners, out of the group that is killed as one, or into memory that nobody counts; some calls
are allowed for some of their arguments only. Assembled by the supervisor, handed as bytes to the guard, which
only installs it; needs no library. Pure: it makes no call.

A denied call fails with EPERM, one that is newer than the list with ENOSYS, as on a kernel that lacks it: C
libraries then use an older one. So does `clone3`, because its flags lie in memory that the program cannot
see; `clone` follows, whose flags it can.
"""

import errno
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from worker.confinement.allowed_calls import (
    ATTRIBUTES,
    FILES,
    LAST_KNOWN,
    MEMORY,
    OF_CUDA,
    PROCESSES,
    SIGNALS_AND_TIME,
    SOCKETS,
    WAITING,
    Numbers,
)

_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK = 1, 2, 10, 16
_ALL_TYPES_BUT_STREAM = 0xE
"""Of the four bits of a socket's type, those that SOCK_STREAM has not and every other type has one of."""
_ALL_TYPES_BUT_STREAM_AND_DATAGRAM = 0xC
"""The same. SOCK_RAW passes, and is refused by the kernel to a process without capabilities."""
_TCP, _NETLINK_ROUTE = 6, 0
_NAMESPACE_FLAGS = 0x7E020000  # CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
_TERMINAL_INJECTION = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX
_ATTRIBUTES_BY_IOCTL = (0x40086602, 0x401C5820, 0x40806685)  # FS_IOC_SETFLAGS, FSSETXATTR, ENABLE_VERITY
_X32_BIT = 0x40000000

_RET_KILL_PROCESS, _RET_ERRNO, _RET_ALLOW = 0x80000000, 0x00050000, 0x7FFF0000
_DENIED, _UNKNOWN = _RET_ERRNO | errno.EPERM, _RET_ERRNO | errno.ENOSYS
_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NR_AT, _ARCH_AT, _ARG0_AT, _ARG1_AT, _ARG2_AT = 0, 4, 16, 24, 32
"""Of each argument the lower half: all that are looked at here are of 32 bits to the kernel too."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What the kernel calls a processor, and its numbers for the calls; -1 where it has no such call."""

    audit_arch: int
    column: int
    has_x32: bool


MACHINES: Mapping[str, Machine] = {
    "x86_64": Machine(audit_arch=0xC000003E, column=0, has_x32=True),
    "aarch64": Machine(audit_arch=0xC00000B7, column=1, has_x32=False),
}

OF_OTHERS: Mapping[str, Numbers] = {
    "prlimit64": (302, 261),  # a limit of no processor time ends a process
    "sched_setaffinity": (203, 122),
    "sched_setscheduler": (144, 119),
    "sched_setparam": (142, 118),
    "sched_setattr": (314, 274),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
}
"""Refused for any process or thread that is named by its number; 0, the caller itself, may be changed."""
_SETPRIORITY, _IOPRIO_SET = (141, 140), (251, 30)
_PRIO_PROCESS, _IOPRIO_WHO_PROCESS = 0, 1

CLONE, CLONE3, _IOCTL, _PRCTL, _FCNTL = (56, 220), (435, 435), (16, 29), (157, 167), (72, 25)
_SOCKET = (41, 198)
_PRCTLS = (1, 4, 22)
"""PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP: to outlive the supervisor, to hide from it what is open,
to fill the kernel with filters."""
_FCNTLS = (1024, 1026, 1031)
"""F_SETLEASE, F_NOTIFY, F_SETPIPE_SZ: to keep others from opening a file, to watch a folder, to hold more in
a pipe than it is counted with."""
_SETSOCKOPT, _SOCKET_OPTIONS = (54, 208), (7, 32)
"""SO_SNDBUF, SO_SNDBUFFORCE: the same for sockets, where there are any."""
_SOCKET_OPTIONS_OF_TCP = (8, 33)
"""SO_RCVBUF, SO_RCVBUFFORCE: there it is the receiver that holds what was sent."""
_LOCKS = (6, 7, 37, 38)
"""F_SETLK, F_SETLKW, F_OFD_SETLK, F_OFD_SETLKW: each byte that is locked costs memory that nobody counts."""


def assemble(
    machine: str,
    *,
    uses_cuda: bool,
    shares_files: bool,
    talks_to_itself: bool = False,
    reaches_out: bool = False,
    more_calls: Iterable[int] = (),
) -> bytes | None:
    """The program as an array of `struct sock_filter`; None for a machine whose numbers are not known here.

    With `uses_cuda` sockets and pairs of AF_UNIX can be made, and no others; without, none. `shares_files`:
    the child has no mount namespace of its own, which keeps it from changing the attributes of others' files.
    `talks_to_itself`: it has a network of its own without a way out, and may use TCP in it (IPv4), and ask it
    for its interfaces. `reaches_out`: it has the machine's network, for TCP and the look-up of names.
    `more_calls`: numbers that the operator allows, whatever their arguments.
    """
    known = MACHINES.get(machine)
    if known is None:
        return None
    column = known.column
    lines = [
        *_unless(_ARCH_AT, _JUMP_EQUAL, known.audit_arch, _RET_KILL_PROCESS),
        (_LOAD, 0, 0, _NR_AT),
    ]
    if known.has_x32:
        lines += _when(_JUMP_AT_LEAST, _X32_BIT, _DENIED)
    for number in more_calls:
        lines += _when(_JUMP_EQUAL, number, _RET_ALLOW)
    lines += _when(_JUMP_AT_LEAST, LAST_KNOWN + 1, _UNKNOWN)
    lines += _when(_JUMP_EQUAL, CLONE3[column], _UNKNOWN)
    has_sockets, has_tcp = uses_cuda or talks_to_itself or reaches_out, talks_to_itself or reaches_out
    if has_sockets:
        made = _of_sockets(uses_cuda=uses_cuda, talks_to_itself=talks_to_itself, reaches_out=reaches_out)
        lines += _when_call(_SOCKET[column], made)
    lines += _by_argument(
        column, uses_cuda=uses_cuda, shares_files=shares_files, has_sockets=has_sockets, has_tcp=has_tcp
    )
    tables = [FILES, WAITING, MEMORY, PROCESSES, SIGNALS_AND_TIME]
    tables += [OF_CUDA] if uses_cuda else []
    tables += [SOCKETS] if has_sockets else []
    tables += [] if shares_files else [ATTRIBUTES]
    for first, last in _runs(numbers[column] for table in tables for numbers in table.values()):
        # from the first of the run on, unless beyond its last
        lines += [
            (_JUMP_AT_LEAST, 0, 2, first),
            (_JUMP_AT_LEAST, 1, 0, last + 1),
            (_RETURN, 0, 0, _RET_ALLOW),
        ]
    lines.append((_RETURN, 0, 0, _DENIED))
    return b"".join(struct.pack("=HBBI", *line) for line in lines)


def _runs(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """The numbers from 0 on as first and last of each unbroken run, ascending."""
    runs: list[tuple[int, int]] = []
    for number in sorted({number for number in numbers if number >= 0}):
        if runs and number == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs


_Line = tuple[int, int, int, int]
"""Operation, lines to skip when true, lines to skip when false, operand."""


def _of_sockets(*, uses_cuda: bool, talks_to_itself: bool, reaches_out: bool) -> list[_Line]:
    """Which may be made, where any may."""
    lines: list[_Line] = [(_LOAD, 0, 0, _ARG0_AT)]
    if uses_cuda:
        lines += _when(_JUMP_EQUAL, _AF_UNIX, _RET_ALLOW)
    if talks_to_itself:
        is_tcp = [
            (_LOAD, 0, 0, _ARG1_AT),
            *_when(_JUMP_ANY_BIT, _ALL_TYPES_BUT_STREAM, _DENIED),
            (_LOAD, 0, 0, _ARG2_AT),
            *_when(_JUMP_EQUAL, 0, _RET_ALLOW),
            *_unless(_ARG2_AT, _JUMP_EQUAL, _TCP, _DENIED),
        ]
        lines += _when_call(_AF_INET, is_tcp)
    if reaches_out:
        is_usual = [
            (_LOAD, 0, 0, _ARG1_AT),
            *_when(_JUMP_ANY_BIT, _ALL_TYPES_BUT_STREAM_AND_DATAGRAM, _DENIED),
        ]
        lines += _when_call(_AF_INET, is_usual) + _when_call(_AF_INET6, is_usual)
    if talks_to_itself or reaches_out:
        lines += _when_call(_AF_NETLINK, _unless(_ARG2_AT, _JUMP_EQUAL, _NETLINK_ROUTE, _DENIED))
    return [*lines, (_RETURN, 0, 0, _DENIED)]


def _by_argument(
    column: int, *, uses_cuda: bool, shares_files: bool, has_sockets: bool, has_tcp: bool
) -> list[_Line]:
    """The calls that are allowed but for some of their arguments."""
    lines: list[_Line] = []
    if uses_cuda:
        pair = OF_CUDA["socketpair"][column]
        lines += _when_call(pair, _unless(_ARG0_AT, _JUMP_EQUAL, _AF_UNIX, _DENIED))
    for numbers in OF_OTHERS.values():
        lines += _when_call(numbers[column], _unless(_ARG0_AT, _JUMP_EQUAL, 0, _DENIED))
    for numbers, kind in ((_SETPRIORITY, _PRIO_PROCESS), (_IOPRIO_SET, _IOPRIO_WHO_PROCESS)):
        of_itself = [
            *_unless(_ARG0_AT, _JUMP_EQUAL, kind, _DENIED),
            *_unless(_ARG1_AT, _JUMP_EQUAL, 0, _DENIED),
        ]
        lines += _when_call(numbers[column], of_itself)
    flags = [(_LOAD, 0, 0, _ARG0_AT), *_when(_JUMP_ANY_BIT, _NAMESPACE_FLAGS, _DENIED)]
    lines += _when_call(CLONE[column], flags)
    ioctls = (*_TERMINAL_INJECTION, *(_ATTRIBUTES_BY_IOCTL if shares_files else ()))
    fcntls = (*_FCNTLS, *(() if uses_cuda else _LOCKS))
    options = (*_SOCKET_OPTIONS, *(_SOCKET_OPTIONS_OF_TCP if has_tcp else ()))
    checked = [(_IOCTL, _ARG1_AT, ioctls), (_PRCTL, _ARG0_AT, _PRCTLS), (_FCNTL, _ARG1_AT, fcntls)]
    if has_sockets:
        checked.append((_SETSOCKOPT, _ARG2_AT, options))
    for call, at, refused in checked:
        compared = [line for value in refused for line in _when(_JUMP_EQUAL, value, _DENIED)]
        lines += _when_call(call[column], [(_LOAD, 0, 0, at), *compared])
    return lines


def _when(jump: int, operand: int, answer: int) -> list[_Line]:
    """Answer if the loaded value compares so."""
    return [(jump, 0, 1, operand), (_RETURN, 0, 0, answer)]


def _unless(at: int, jump: int, operand: int, answer: int) -> list[_Line]:
    """Load the word at `at`; answer unless it compares so."""
    return [(_LOAD, 0, 0, at), (jump, 1, 0, operand), (_RETURN, 0, 0, answer)]


def _when_call(number: int, lines: list[_Line]) -> list[_Line]:
    """Run `lines` for one call only, then allow it: they may load its arguments over its number."""
    body = [*lines, (_RETURN, 0, 0, _RET_ALLOW)]
    return [(_JUMP_EQUAL, 0, len(body), number), *body]
