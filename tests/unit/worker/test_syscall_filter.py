"""The program that the kernel runs before each call, run here for every number on both machines."""

import errno
import struct
from functools import cache
from typing import Any

import pytest

from worker.confinement import allowed_calls, syscall_filter

ALLOWED, EPERM, ENOSYS = 0x7FFF0000, 0x50000 | errno.EPERM, 0x50000 | errno.ENOSYS
PLAIN = (
    allowed_calls.FILES,
    allowed_calls.WAITING,
    allowed_calls.MEMORY,
    allowed_calls.PROCESSES,
    allowed_calls.SIGNALS_AND_TIME,
)
DANGEROUS = {
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51),
    "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430), "mount_setattr": (442, 442),
    "unshare": (272, 97), "setns": (308, 268), "ptrace": (101, 117), "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271), "pidfd_getfd": (438, 438), "bpf": (321, 280),
    "perf_event_open": (298, 241), "userfaultfd": (323, 282), "io_uring_setup": (425, 425),
    "keyctl": (250, 219), "add_key": (248, 217), "kexec_load": (246, 104), "init_module": (175, 105),
    "finit_module": (313, 273), "setsid": (112, 157), "setpgid": (109, 154), "shmget": (29, 194),
    "shmat": (30, 196), "mq_open": (240, 180), "seccomp": (317, 277), "landlock_create_ruleset": (444, 444),
    "memfd_secret": (447, 447), "personality": (135, 92),
}  # fmt: skip


@cache
def program(machine: str, **options: Any) -> list[tuple[int, int, int, int]]:
    assembled = syscall_filter.assemble(machine, **{"uses_cuda": False, "shares_files": True, **options})
    assert assembled is not None
    return list(struct.iter_unpack("=HBBI", assembled))


def answers(machine: str, number: int, *arguments: int, **options: Any) -> int:
    """Classic BPF as the kernel runs it, of the operations that the filter uses."""
    lines = program(machine, **options)
    padded = (*arguments, *([0] * (6 - len(arguments))))
    known = syscall_filter.MACHINES[machine]
    data = struct.pack("=IIQ6Q", number, known.audit_arch, 0, *padded)
    loaded, at = 0, 0
    while True:
        operation, if_true, if_false, operand = lines[at]
        at += 1
        if operation == 0x06:
            return int(operand)
        if operation == 0x20:
            (loaded,) = struct.unpack_from("=I", data, operand)
            continue
        holds = {0x15: loaded == operand, 0x35: loaded >= operand, 0x45: bool(loaded & operand)}[operation]
        at += if_true if holds else if_false


@pytest.mark.parametrize("machine", syscall_filter.MACHINES)
class TestOnEachMachine:
    def test_what_is_in_no_list_is_denied_and_what_is_newer_does_not_exist(self, machine: str) -> None:
        column = syscall_filter.MACHINES[machine].column
        allowed = {numbers[column] for table in PLAIN for numbers in table.values()} - {-1}
        judged = {number: answers(machine, number) for number in range(1100)}
        assert {number for number in allowed if judged[number] != ALLOWED} == set()
        for number in range(allowed_calls.LAST_KNOWN + 1, 1100):
            assert judged[number] == ENOSYS, number
        for name, numbers in DANGEROUS.items():
            assert judged[numbers[column]] == EPERM, name
        assert judged[syscall_filter.CLONE3[column]] == ENOSYS
        passed = {number for number, answer in judged.items() if answer == ALLOWED}
        checked = len(syscall_filter.OF_OTHERS) + 6  # ioctl, prctl, fcntl, clone, setpriority, ioprio_set
        assert len(passed - allowed) <= checked

    def test_lists_of_a_job_open_with_what_it_needs_and_not_else(self, machine: str) -> None:
        column = syscall_filter.MACHINES[machine].column
        for table, options in (
            (allowed_calls.ATTRIBUTES, {"shares_files": False}),
            (allowed_calls.SOCKETS, {"talks_to_itself": True}),
            (allowed_calls.SOCKETS, {"reaches_out": True}),
            (allowed_calls.OF_CUDA, {"uses_cuda": True}),
        ):
            for name, numbers in table.items():
                if numbers[column] >= 0:
                    assert answers(machine, numbers[column], 1) == EPERM, name
                    assert answers(machine, numbers[column], 1, **options) == ALLOWED, name

    def test_an_operator_can_allow_one_that_is_newer(self, machine: str) -> None:
        assert answers(machine, 467) == ENOSYS
        assert answers(machine, 467, more_calls=(467,)) == ALLOWED
        assert answers(machine, 468, more_calls=(467,)) == ENOSYS

    def test_a_namespace_is_made_by_no_flag_of_clone(self, machine: str) -> None:
        clone = syscall_filter.CLONE[syscall_filter.MACHINES[machine].column]
        assert answers(machine, clone, 17) == ALLOWED
        for flag in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
            assert answers(machine, clone, flag | 17) == EPERM
