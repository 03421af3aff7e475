"""Write docker/seccomp.json: the system calls of a worker's container, for `security_opt` in compose.

    python -m tools.make_seccomp

Docker's own profile denies the calls by which a worker cuts its children off (`unshare` and `mount` in a
user namespace), and allows hundreds that no worker makes. This one is an allow-list: what children may call
(worker.confinement.allowed_calls; a filter of their own leaves them less), what the supervisor and its libs
need beside that, and what the guard needs to cut a child off.
"""

import json
import sys
from pathlib import Path

from worker.confinement import allowed_calls
from worker.confinement.syscall_filter import OF_OTHERS

PLACE = Path(__file__).resolve().parent.parent / "docker" / "seccomp.json"

_OF_SUPERVISORS = (
    *("socket", "setsockopt", "socketpair", "ioctl", "fcntl", "prctl", "clone", "clone3", "execveat"),
    *("setsid", "setpgid", "setpriority", "ioprio_set", "process_madvise", "getitimer"),
    *(
        "setuid",
        "setgid",
        "setreuid",
        "setregid",
        "setresuid",
        "setresgid",
        "setgroups",
        "setfsuid",
        "setfsgid",
    ),
    *("capset", "chroot", "get_thread_area", "set_thread_area", "set_mempolicy", "sethostname"),
)
_OF_THE_GUARD = (
    *("unshare", "mount", "umount2", "mount_setattr", "pivot_root", "seccomp"),
    *("landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"),
)


def names() -> list[str]:
    """All that is allowed, sorted."""
    tables = (
        allowed_calls.FILES,
        allowed_calls.WAITING,
        allowed_calls.MEMORY,
        allowed_calls.PROCESSES,
        allowed_calls.SIGNALS_AND_TIME,
        allowed_calls.SOCKETS,
        allowed_calls.OF_CUDA,
        allowed_calls.ATTRIBUTES,
        OF_OTHERS,
    )
    return sorted({*(name for table in tables for name in table), *_OF_SUPERVISORS, *_OF_THE_GUARD})


def profile() -> str:
    """The file: anything else fails with EPERM."""
    made = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "archMap": [
            {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": []},
            {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": []},
        ],
        "syscalls": [{"names": names(), "action": "SCMP_ACT_ALLOW"}],
    }
    return json.dumps(made, indent=1) + "\n"


def main() -> int:
    PLACE.write_text(profile())
    return 0


if __name__ == "__main__":
    sys.exit(main())
