"""How a child is started: command, environment, limits, and how far this kernel lets us cut it off.

The environment is written from nothing; no variable of the worker reaches the child but the few named
here, so that no credential can. Memory is limited twice: the address space by the kernel, which no
allocation can outrun (not on CUDA, whose driver maps far more than it uses), and the memory of the whole
session by the supervisor, which also counts what several processes use together. So is processor time.
"""

import glob
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from app.domain.states import PUBLIC_KINDS, JobKind
from app.logs import get_logger
from cleanclip.vocabulary.jobspec import TOKENIZERS_VARIABLE, MaxRanks
from worker import cgroup
from worker.confinement import file_access, syscall_filter

_LOG = get_logger(__name__)
Isolation = Literal["full", "network", "none"]
LEVELS: tuple[Isolation, ...] = ("full", "network", "none")
"""Strongest first."""
_GUARD = Path(__file__).with_name("guard.py")
_PROBE_TIMEOUT_S = 10
MAX_PROCESSES = 1024
"""Threads count where the kernel counts (not for root), processes only where the supervisor does."""
_MAX_OPEN_FILES = 4096
_FILES_OF_FULL_SIZE = 3
_CPU_MARGIN_S = 300
"""The supervisor, which counts all processes, is to see it first: a child can send itself SIGXCPU."""
_SHARED_MEMORY_PART = 4
"""Of the memory that a child may use, this part at most may lie in its own /dev/shm."""
_PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "CUDA_HOME")
KEPT_HEAP = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**40),
    "MALLOC_TOP_PAD_": str(2**26),
}
"""For glibc: what is freed stays with the process. Else large tensors are mapped and given back at every step
and the kernel clears their pages again: 350,000 faults, a second of its time, in a step of RN50 on 16 pairs.
The peak of memory grew by 6 %."""

DEFAULT_COMMAND = (sys.executable, "-m", "sanitizer", "run")
"""The child's command; the job's folder follows as the last argument."""


@dataclass(frozen=True, kw_only=True)
class ChildLimits:
    """What one child may use. None: no limit."""

    memory_bytes: int | None
    """Of all its processes together (see session), and the address space of each (not on CUDA)."""
    file_bytes: int
    hostile_cpu_s: int | None
    """CPU seconds for kinds that read hostile bytes, all processes together."""
    hostile_wall_s: float | None = None
    """From start to end, for the same kinds."""
    training_cpu_s: int | None = None
    """CPU seconds for audits and training, all threads and processes together."""
    training_wall_s: float | None = None
    """From start to end, for the same kinds: each job has its own (`worker.wall_time`)."""
    uses_cuda: bool = False
    num_threads: int | None = None
    more_calls: tuple[int, ...] = ()
    """System calls that the operator allows beside ours, by number."""
    tokenizers_dir: Path | None = None
    """The operator's shelf of tokenizers, which children may read."""
    stall_s: float = 1800.0
    """Without any word from the child for so long, or without work, it is taken for hung."""

    @property
    def written_bytes(self) -> int:
        """All that a child may write: its outputs and three training states (`training.state`)."""
        return _FILES_OF_FULL_SIZE * self.file_bytes

    def cpu_s(self, kind: JobKind) -> int | None:
        """For each process by the kernel, for all of them together by the supervisor."""
        return self.training_cpu_s if kind in PUBLIC_KINDS else self.hostile_cpu_s

    def wall_s(self, kind: JobKind) -> float | None:
        return self.training_wall_s if kind in PUBLIC_KINDS else self.hostile_wall_s


def rlimits(limits: ChildLimits, kind: JobKind, isolation: Isolation) -> dict[str, int]:
    """Names and values for setrlimit."""
    values = {"FSIZE": limits.file_bytes, "NOFILE": _MAX_OPEN_FILES}
    if limits.memory_bytes is not None and not limits.uses_cuda:
        values["AS"] = limits.memory_bytes
    cpu_s = limits.cpu_s(kind)
    if cpu_s is not None:
        values["CPU"] = cpu_s + _CPU_MARGIN_S
    if isolation != "none":  # counted per user namespace there; elsewhere it would count the whole machine
        values["NPROC"] = MAX_PROCESSES
    return values


def environment(folder: Path, limits: ChildLimits, worker: Mapping[str, str]) -> dict[str, str]:
    """The child's whole environment: where programs are, where it may write, how many threads it gets."""
    num_threads = limits.num_threads or cgroup.num_cores()
    passed_on = {name: worker[name] for name in _PASSED_ON if name in worker}
    if not limits.uses_cuda:
        passed_on["CUDA_VISIBLE_DEVICES"] = ""
    if limits.tokenizers_dir is not None:
        passed_on[TOKENIZERS_VARIABLE] = str(limits.tokenizers_dir.resolve())
    return passed_on | {
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "tmp"),
        "LANG": "C.UTF-8",
        "PYTHONPATH": _library_folder(),
        "PYTHONSAFEPATH": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": str(num_threads),
        "MKL_NUM_THREADS": str(num_threads),
        # Threads that wait for each other sleep instead of spinning: beside other busy processes, spinning
        # made a step of a small model twenty times as long (7.5 s for 0.38 s, two threads on two cores).
        "OMP_WAIT_POLICY": "PASSIVE",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        **KEPT_HEAP,
        "HF_HUB_OFFLINE": "1",
    }


def guarded_command(
    command: Sequence[str],
    folder: Path,
    isolation: Isolation,
    limits: Mapping[str, int],
    *,
    uses_cuda: bool = False,
    talks_to_itself: bool = False,
    reaches_out: bool = False,
    more_calls: Sequence[int] = (),
    tokenizers_dir: Path | None = None,
) -> list[str]:
    """The command that becomes `command` after the guard has cut it off; to be started by this process.

    With CUDA the accelerator's devices open, and sockets of this machine (AF_UNIX), which its driver may use.
    `talks_to_itself`: its processes may speak TCP with each other; needs a network of its own, so a level
    above `none`. `reaches_out`: it has the machine's network, and the files that name servers in it.
    """
    if talks_to_itself and isolation == "none":
        raise ValueError("without a network of its own a child would reach the machine's")
    calls = syscall_filter.assemble(
        platform.machine(),
        uses_cuda=uses_cuda,
        shares_files=isolation != "full",
        talks_to_itself=talks_to_itself,
        reaches_out=reaches_out,
        more_calls=more_calls,
    )
    options = {
        "isolation": isolation,
        "folder": str(folder),
        "limits": dict(limits),
        "shared_memory": {
            "size": str(limits["AS"] // _SHARED_MEMORY_PART) if "AS" in limits else "25%",
            **file_access.shared_memory(uses_cuda=uses_cuda),
        },
        "parent_pid": os.getpid(),
        "files": file_access.rules(
            folder, command, os.environ, uses_cuda=uses_cuda, also=tokenizers_dir, reaches_out=reaches_out
        ),
        "calls": None if calls is None else calls.hex(),
        "network": "shared" if reaches_out else "own" if talks_to_itself else "none",
    }
    return [sys.executable, "-I", "-S", str(_GUARD), json.dumps(options), *command]


def finds_cuda(device: Literal["auto", "cpu", "cuda"]) -> bool:
    """Whether children use the GPU: as told, or where the driver's control device is there."""
    return device == "cuda" or (device == "auto" and Path("/dev/nvidiactl").exists())


def allowed_ranks(asked: MaxRanks, isolation: Isolation, *, uses_cuda: bool) -> MaxRanks:
    """What this machine allows of the setting: ranks talk over a network, which must be the child's own."""
    if asked == "auto" and not (uses_cuda and len(glob.glob("/dev/nvidia[0-9]*")) > 1):
        return 1
    if asked != 1 and isolation == "none":
        _LOG.warning("ranks_need_a_network_namespace", asked=asked)
        return 1
    return asked


@lru_cache(maxsize=1)
def strongest_isolation() -> Isolation:
    """The strongest level that works on this machine, found by trying, once per process."""
    for level in LEVELS:
        if _works(level):
            if level != "full":
                _LOG.warning("child_isolation_reduced", isolation=level)
            return level
    return "none"


def _works(level: Isolation) -> bool:
    with tempfile.TemporaryDirectory(prefix="isolation-") as folder:
        command = guarded_command([sys.executable, "-I", "-S", "-c", ""], Path(folder), level, {})
        try:
            ended = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                env={},
                start_new_session=True,
                timeout=_PROBE_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return False
        return ended.returncode == 0


def _library_folder() -> str:
    """The folder that holds the `sanitizer` package, found without importing it."""
    spec = importlib.util.find_spec("sanitizer")
    if spec is None or spec.origin is None:
        raise RuntimeError("the sanitizer package is not installed beside the worker")
    return str(Path(spec.origin).resolve().parent.parent)
