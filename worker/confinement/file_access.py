"""Which files a child may see and change: the program itself, the system's libraries, its own folder.

A list of what is allowed, for the guard to give to the kernel (Landlock, Linux ≥ 5.13). All else (other jobs'
folders, the home folder, the worker's own files) does not open. Looks at which places exist; opens none.
"""

import ctypes
import glob
import importlib.util
import itertools
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

READ = ("execute", "read_file", "read_dir")
OWN = (
    "read_file",
    "read_dir",
    "write_file",
    "truncate",
    "make_reg",
    "make_dir",
    "make_sym",
    "make_fifo",
    "remove_file",
    "remove_dir",
    "refer",
)
"""Nothing in the child's own folder can be executed, and no device or socket made there."""
DEVICE = ("read_file", "write_file", "ioctl_dev")
_READ_DEVICE = ("read_file", "write_file")

_SYSTEM = (
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/opt",
    "/nix/store",
    "/sys",
    "/proc",
)
_SYSTEM_FILES = (
    "/etc/alternatives",
    "/etc/crypto-policies",
    "/etc/group",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/nsswitch.conf",
    "/etc/os-release",
    "/etc/passwd",
    "/etc/pki/tls/openssl.cnf",
    "/etc/ssl/openssl.cnf",
    "/etc/timezone",
)
_NETWORK_FILES = (
    "/etc/hosts",
    "/etc/resolv.conf",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/ssl/certs",
    "/etc/pki",
)
_PLAIN_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_ACCELERATORS = ("/dev/nvidia*", "/dev/dri", "/dev/kfd")
_ACCELERATOR_FILES = ("/etc/nvidia", "/etc/OpenCL", "/run/nvidia", "/run/nvidia-persistenced")
_ANOTHERS_SHARED_MEMORY = ("read_file", "write_file", "truncate", "make_reg", "remove_file")
_SYS_LANDLOCK_CREATE_RULESET, _GET_VERSION = 444, 1

Rule = tuple[str, tuple[str, ...]]
"""A place, and what may be done at it and below it."""


def kernel_restricts_files() -> bool:
    """Whether this kernel has Landlock, and it is switched on."""
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "syscall"):
        return False
    return int(libc.syscall(ctypes.c_long(_SYS_LANDLOCK_CREATE_RULESET), None, 0, _GET_VERSION)) > 0


def rules(
    folder: Path,
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    uses_cuda: bool,
    also: Path | None = None,
    reaches_out: bool = False,
) -> list[Rule]:
    """The whole list for one child; only places that exist. `also`: one more that it may read. `reaches_out`:
    what names servers, and says whom to trust.

    Rights of a place hold below it as well: one that holds the job's folder, or lies in it, is left out.
    """
    readable = [*_SYSTEM, *_SYSTEM_FILES, *_python(), *_program(command), *_named_in(environment)]
    readable += [] if also is None else [str(also.resolve())]
    readable += [*_NETWORK_FILES, *_package("app")] if reaches_out else []
    found: list[Rule] = [(place, READ) for place in _existing(readable) if not _overlaps(place, folder)]
    found += [(place, _READ_DEVICE) for place in _existing(_PLAIN_DEVICES)]
    if uses_cuda:
        devices = [place for pattern in _ACCELERATORS for place in glob.glob(pattern)]
        found += [(place, (*DEVICE, "read_dir")) for place in devices]
        found += [(place, READ) for place in _existing(_ACCELERATOR_FILES)]
    return [*found, (str(folder), OWN)]


def shared_memory(*, uses_cuda: bool) -> dict[str, tuple[str, ...]]:
    """What a child may do in a /dev/shm of its own, and in one that it would share with others.

    There, nothing: it could read, change and leave files of the same user, those of the next job too. CUDA's
    driver, of which we cannot know what it uses, gets at files whose names it knows.
    """
    return {"own": OWN, "not_own": _ANOTHERS_SHARED_MEMORY if uses_cuda else ()}


def _python() -> set[str]:
    return {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}


def _program(command: Sequence[str]) -> list[str]:
    """The program files that the command names, never a folder, and the package behind `-m`."""
    places = [word for word in command if word.startswith("/") and Path(word).is_file()]
    for flag, name in itertools.pairwise(command):
        if flag == "-m":
            places += _package(name)
    return [*places, *_package("sanitizer"), *_package("cleanclip")]


def _package(name: str) -> list[str]:
    spec = importlib.util.find_spec(name.partition(".")[0])
    if spec is None:
        return []
    return [*(spec.submodule_search_locations or ()), *([spec.origin] if spec.origin else ())]


def _named_in(environment: Mapping[str, str]) -> list[str]:
    folders = [*environment.get("LD_LIBRARY_PATH", "").split(":"), environment.get("CUDA_HOME", "")]
    return [folder for folder in folders if folder.startswith("/")]


def _overlaps(place: str, folder: Path) -> bool:
    resolved, own = Path(place).resolve(), folder.resolve()
    return resolved == own or resolved in own.parents or own in resolved.parents


def _existing(places: Iterable[str]) -> list[str]:
    return sorted({place for place in places if Path(place).exists()})
