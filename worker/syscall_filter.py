"""The system calls a child may not make, as the program that the kernel runs before each of its calls.

A denylist, not an allowlist: PyTorch, BLAS libraries and CUDA drivers change their calls with every version,
and a list of what they need would break jobs. Denied is what reaches outside (sockets), into other processes,
into the kernel's seldom-walked corners, or out of the group that is killed as one. Assembled by the
supervisor, handed as bytes to the guard, which only installs it; needs no library. Pure: it makes no call.

A denied call fails with EPERM. `clone3` fails with ENOSYS, because its flags lie in memory that the program
cannot see; C libraries then use `clone`, whose flags it can.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Mapping
from dataclasses import dataclass

_AF_UNIX = 1
_NAMESPACE_FLAGS = 0x7E020000  # CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
_TERMINAL_INJECTION = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX
_X32_BIT = 0x40000000

_RET_KILL_PROCESS, _RET_ERRNO, _RET_ALLOW = 0x80000000, 0x00050000, 0x7FFF0000
_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NR_AT, _ARCH_AT, _ARG0_AT, _ARG1_AT = 0, 4, 16, 24


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

DENIED: Mapping[str, tuple[int, int]] = {
    # other processes
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    # out of the group that is killed as one
    "setsid": (112, 157),
    "setpgid": (109, 154),
    # what the kernel would keep after the child, where it has no IPC namespace of its own
    "shmget": (29, 194),
    "semget": (64, 190),
    "msgget": (68, 186),
    "mq_open": (240, 180),
    # mounts and namespaces
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "move_mount": (429, 429),
    "open_tree": (428, 428),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "unshare": (272, 97),
    "setns": (308, 268),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "fanotify_init": (300, 262),
    # keys, programs in the kernel, memory tricks
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "bpf": (321, 280),
    "userfaultfd": (323, 282),
    "perf_event_open": (298, 241),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "memfd_secret": (447, 447),
    "modify_ldt": (154, -1),
    "personality": (135, 92),
    # the machine itself
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "acct": (163, 89),
    "syslog": (103, 116),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "vhangup": (153, 58),
    "iopl": (172, -1),
    "ioperm": (173, -1),
}
"""Name → number on each machine, in the order of `Machine.column`. Refused whatever the arguments."""

_SOCKET, _SOCKETPAIR = (41, 198), (53, 199)
CLONE, CLONE3, _IOCTL, _PRCTL = (56, 220), (435, 435), (16, 29), (157, 167)
MEMFD_CREATE = (319, 279)
"""A file without a name can be executed, and no list of files sees it."""
_PRCTLS = (1, 4)
"""PR_SET_PDEATHSIG and PR_SET_DUMPABLE: to outlive the supervisor, to hide from it what is open."""


def assemble(machine: str, *, uses_cuda: bool) -> bytes | None:
    """The program as an array of `struct sock_filter`; None for a machine whose numbers are not known here.

    No socket can be made but, with `uses_cuda`, of AF_UNIX; a pair that is connected to itself can. Files
    without a name are left to CUDA's driver too.
    """
    known = MACHINES.get(machine)
    if known is None:
        return None
    column = known.column
    denied = _RET_ERRNO | errno.EPERM
    lines = [
        *_unless(_ARCH_AT, _JUMP_EQUAL, known.audit_arch, _RET_KILL_PROCESS),
        (_LOAD, 0, 0, _NR_AT),
    ]
    if known.has_x32:
        lines += _when(_JUMP_AT_LEAST, _X32_BIT, denied)
    for numbers in DENIED.values():
        if numbers[column] >= 0:
            lines += _when(_JUMP_EQUAL, numbers[column], denied)
    lines += _when(_JUMP_EQUAL, CLONE3[column], _RET_ERRNO | errno.ENOSYS)
    if not uses_cuda:
        for numbers in (_SOCKET, MEMFD_CREATE):
            lines += _when(_JUMP_EQUAL, numbers[column], denied)
    lines += _when_call(_SOCKET[column], _unless(_ARG0_AT, _JUMP_EQUAL, _AF_UNIX, denied))
    lines += _when_call(_SOCKETPAIR[column], _unless(_ARG0_AT, _JUMP_EQUAL, _AF_UNIX, denied))
    lines += _when_call(
        CLONE[column], [(_LOAD, 0, 0, _ARG0_AT), *_when(_JUMP_ANY_BIT, _NAMESPACE_FLAGS, denied)]
    )
    for call, at, refused in ((_IOCTL, _ARG1_AT, _TERMINAL_INJECTION), (_PRCTL, _ARG0_AT, _PRCTLS)):
        compared = [line for value in refused for line in _when(_JUMP_EQUAL, value, denied)]
        lines += _when_call(call[column], [(_LOAD, 0, 0, at), *compared])
    lines.append((_RETURN, 0, 0, _RET_ALLOW))
    return b"".join(struct.pack("=HBBI", *line) for line in lines)


_Line = tuple[int, int, int, int]
"""Operation, lines to skip when true, lines to skip when false, operand."""


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
