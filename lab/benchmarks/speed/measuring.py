"""Times two sides in turn, so that other work on the machine disturbs both alike.

A figure is the median over repetitions; its spread is the smallest and the largest. The ratio is that of each
repetition's two times, so that a slow minute of the machine falls out.
"""

from __future__ import annotations

import gc
import os
import platform
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar
from unittest.mock import patch

import PIL
import torch
import torchvision

from sanitizer.training.device import num_granted_cores
from worker.confinement.sandbox import KEPT_HEAP

INTERVAL_MS = 200
"""Between two looks at how busy a GPU is."""
_Result = TypeVar("_Result")
Spread = dict[str, float]
"""median, low, high"""


def spread(values: Sequence[float]) -> Spread:
    """The median, the smallest and the largest."""
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    gc.collect()
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def in_own_process(
    work: Callable[..., _Result], *arguments: Any, environment: Mapping[str, str] = MappingProxyType({})
) -> _Result:
    """What `work`, a function of a module, returns in a process that it has for itself.

    Neither side then meets the heap that the other left behind, and `environment` is there from its start.
    """
    pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
    with patch.dict(os.environ, environment), pool:
        return pool.submit(work, *arguments).result()


def as_a_job(work: Callable[..., _Result], *arguments: Any) -> _Result:
    """`in_own_process`, with the memory of a worker's child."""
    return in_own_process(work, *arguments, environment=KEPT_HEAP)


def in_turn(
    baseline: Callable[[], float], ours: Callable[[], float], repetitions: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """Both sides `repetitions` times; each call returns its seconds."""
    times: list[tuple[float, float]] = []
    for number in range(repetitions):
        pair = (baseline(), ours())
        times.append(pair)
        say(f"  {number + 1}/{repetitions}: baseline {pair[0]:.2f} s, ours {pair[1]:.2f} s")
    return {
        "baseline_s": spread([first for first, _ in times]),
        "ours_s": spread([second for _, second in times]),
        "ratio": spread([first / second for first, second in times]),
        "repetitions": repetitions,
    }


def machine(device: torch.device) -> dict[str, Any]:
    """What ran this."""
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "processor": _processor(),
        "cores": num_granted_cores(),
        "load_average": round(os.getloadavg()[0], 2),
        "device": str(device) if device.type != "cuda" else torch.cuda.get_device_name(device),
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "versions": f"torch {torch.__version__}, torchvision {torchvision.__version__}, "
        f"Pillow {PIL.__version__}",
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
    flags = next((line for line in lines if line.startswith("flags")), "")
    has = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags.split()]
    return f"{name} ({', '.join(has)})"


@dataclass
class Utilisation:
    """Shares of the driver's sampling periods in which at least one kernel ran, 0 to 1, in order."""

    samples: list[float] = field(default_factory=list)

    @property
    def mean(self) -> float | None:
        """None where nothing was sampled, as without a GPU."""
        return statistics.fmean(self.samples) if self.samples else None


@contextmanager
def watching(device: torch.device) -> Iterator[Utilisation]:
    """Filled while the context is open. Raises FileNotFoundError where a GPU is without `nvidia-smi`.

    The GPU is named by its own id: the tool does not know which of them this process may see.
    """
    found = Utilisation()
    if device.type != "cuda":
        yield found
        return
    command = [
        "nvidia-smi",
        f"--id=GPU-{torch.cuda.get_device_properties(device).uuid}",
        "--query-gpu=utilization.gpu",
        "--format=csv,noheader,nounits",
        f"--loop-ms={INTERVAL_MS}",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as asking:
        reader = threading.Thread(target=_read, args=(asking, found), daemon=True)
        reader.start()
        try:
            yield found
        finally:
            asking.terminate()
            reader.join()


def _read(asking: subprocess.Popen[str], found: Utilisation) -> None:
    for line in asking.stdout or ():
        if line.strip().isdecimal():
            found.samples.append(int(line) / 100)
