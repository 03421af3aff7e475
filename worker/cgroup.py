"""What the container (or unit) of the worker grants: cores, and whether the kernel killed for its memory.

A cgroup's limits are in no affinity mask and in no process's own numbers. Reads files only.
Versions 2 and 1 of the kernel's interface, in a namespace of its own (as containers see it) or by full path.
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


def num_cores(root: Path = _ROOT, own: Path = _OWN) -> int:
    """Cores that this process may use at once: those it may run on, or less where their time is rationed."""
    granted = len(os.sched_getaffinity(0))
    for folder in _folders("cpu", root, own):
        quota = _quota_of_2(folder) or _quota_of_1(folder)
        if quota is not None:
            granted = min(granted, math.ceil(quota))
    return max(1, granted)


def oom_kills(root: Path = _ROOT, own: Path = _OWN) -> int:
    """How many processes the kernel killed because the cgroup's memory was used up; 0 where unknown."""
    for folder in _folders("memory", root, own):
        for name in ("memory.events", "memory.oom_control"):
            for line in _lines(folder / name):
                key, _, value = line.partition(" ")
                if key == "oom_kill" and value.isdecimal():
                    return int(value)
    return 0


def _folders(controller: str, root: Path, own: Path) -> Iterator[Path]:
    """Where this process's cgroup may be seen, the most exact first."""
    for line in _lines(own):
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            yield root / path.lstrip("/")
        elif controller in controllers.split(","):
            yield root / controller / path.lstrip("/")
    yield root / controller  # a container sees its own cgroup as the root
    yield root


def _quota_of_2(folder: Path) -> float | None:
    for line in _lines(folder / "cpu.max"):
        quota, _, period = line.partition(" ")
        return _ratio(quota, period)
    return None


def _quota_of_1(folder: Path) -> float | None:
    quota, period = ("".join(_lines(folder / f"cpu.cfs_{name}_us")) for name in ("quota", "period"))
    return _ratio(quota, period)


def _ratio(quota: str, period: str) -> float | None:
    """None: no limit ("max" or -1), or no such file."""
    return int(quota) / int(period) if quota.isdecimal() and period.isdecimal() and int(period) else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
