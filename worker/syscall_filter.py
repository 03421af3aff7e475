"""The system calls a child may not make, as the program that the kernel runs before each of its calls.

A denylist, not an allowlist: PyTorch, BLAS libraries and CUDA drivers change their calls with every version,
and a list of what they need would break jobs. Denied is what reaches outside (sockets), into other processes
and their files, into the kernel's seldom-walked corners, out of the group that is killed as one, or into
memory that nobody counts. Assembled by the supervisor, handed as bytes to the guard, which only installs it;
needs no library. Pure: it makes no call.

A denied call fails with EPERM. `clone3` fails with ENOSYS, because its flags lie in memory that the program
cannot see; C libraries then use `clone`, whose flags it can.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Mapping
from dataclasses import dataclass

_AF_UNIX, _AF_INET, _AF_NETLINK = 1, 2, 16
_ALL_TYPES_BUT_STREAM = 0xE
"""Of the four bits of a socket's type, those that SOCK_STREAM has not and every other type has one of."""
_TCP, _NETLINK_ROUTE = 6, 0
_NAMESPACE_FLAGS = 0x7E020000  # CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
_TERMINAL_INJECTION = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX
_ATTRIBUTES_BY_IOCTL = (0x40086602, 0x401C5820, 0x40806685)  # FS_IOC_SETFLAGS, FSSETXATTR, ENABLE_VERITY
_X32_BIT = 0x40000000

_RET_KILL_PROCESS, _RET_ERRNO, _RET_ALLOW = 0x80000000, 0x00050000, 0x7FFF0000
_DENIED = _RET_ERRNO | errno.EPERM
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

DENIED: Mapping[str, tuple[int, int]] = {
    # other processes
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    "process_mrelease": (448, 448),
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
    "landlock_create_ruleset": (444, 444),
    "landlock_add_rule": (445, 445),
    "landlock_restrict_self": (446, 446),
    "seccomp": (317, 277),
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

UNLESS_CUDA: Mapping[str, tuple[int, int]] = {
    "socket": (41, 198),
    "socketpair": (53, 199),  # what lies in its messages is in no table of open files
    "memfd_create": (319, 279),  # a file without a name can be executed, and no list of files sees it
    "inotify_init": (253, -1),  # would tell the names in folders that cannot be opened
    "inotify_init1": (294, 26),
    # a pipe holds the pages that these hand it, of whatever size, beyond its own 64 KiB
    "splice": (275, 76),
    "vmsplice": (278, 75),
    "tee": (276, 77),
    "sendfile": (40, 71),
}
"""Left to CUDA's driver, of which we cannot know what it uses."""

OF_OTHERS: Mapping[str, tuple[int, int]] = {
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

ATTRIBUTES: Mapping[str, tuple[int, int]] = {
    "chmod": (90, -1),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, -1),
    "fchown": (93, 55),
    "lchown": (94, -1),
    "fchownat": (260, 54),
    "utime": (132, -1),
    "utimes": (235, -1),
    "futimesat": (261, -1),
    "utimensat": (280, 88),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "setxattrat": (463, 463),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "removexattrat": (466, 466),
    "file_setattr": (469, 469),
}
"""What Landlock does not ask about: the owner of a file may change these wherever it lies."""

CLONE, CLONE3, _IOCTL, _PRCTL, _FCNTL = (56, 220), (435, 435), (16, 29), (157, 167), (72, 25)
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
    machine: str, *, uses_cuda: bool, shares_files: bool, talks_to_itself: bool = False
) -> bytes | None:
    """The program as an array of `struct sock_filter`; None for a machine whose numbers are not known here.

    With `uses_cuda` sockets and pairs of AF_UNIX can be made, and no others; without, none. `shares_files`:
    the child has no mount namespace of its own, which keeps it from changing the attributes of others' files.
    `talks_to_itself`: it has a network of its own without a way out, and may use TCP in it (IPv4), and ask it
    for its interfaces.
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
    refused = {**DENIED, **({} if uses_cuda else UNLESS_CUDA), **(ATTRIBUTES if shares_files else {})}
    if talks_to_itself:
        refused.pop("socket", None)
    for numbers in refused.values():
        if numbers[column] >= 0:
            lines += _when(_JUMP_EQUAL, numbers[column], _DENIED)
    lines += _when(_JUMP_EQUAL, CLONE3[column], _RET_ERRNO | errno.ENOSYS)
    sockets = _of_sockets(uses_cuda=uses_cuda, talks_to_itself=talks_to_itself)
    lines += _when_call(UNLESS_CUDA["socket"][column], sockets)
    lines += _by_argument(
        column, uses_cuda=uses_cuda, shares_files=shares_files, talks_to_itself=talks_to_itself
    )
    lines.append((_RETURN, 0, 0, _RET_ALLOW))
    return b"".join(struct.pack("=HBBI", *line) for line in lines)


_Line = tuple[int, int, int, int]
"""Operation, lines to skip when true, lines to skip when false, operand."""


def _of_sockets(*, uses_cuda: bool, talks_to_itself: bool) -> list[_Line]:
    """Which may be made, where the call was not refused outright."""
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
        lines += _when_call(_AF_NETLINK, _unless(_ARG2_AT, _JUMP_EQUAL, _NETLINK_ROUTE, _DENIED))
    return [*lines, (_RETURN, 0, 0, _DENIED)]


def _by_argument(column: int, *, uses_cuda: bool, shares_files: bool, talks_to_itself: bool) -> list[_Line]:
    """The calls that are refused for some of their arguments only."""
    lines: list[_Line] = []
    # without CUDA it was refused before
    pair = UNLESS_CUDA["socketpair"][column]
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
    options = (*_SOCKET_OPTIONS, *(_SOCKET_OPTIONS_OF_TCP if talks_to_itself else ()))
    for call, at, refused in (
        (_IOCTL, _ARG1_AT, ioctls),
        (_PRCTL, _ARG0_AT, _PRCTLS),
        (_FCNTL, _ARG1_AT, fcntls),
        (_SETSOCKOPT, _ARG2_AT, options),
    ):
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
