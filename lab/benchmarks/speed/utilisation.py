"""How busy a GPU is while something runs, as its driver says. Knows no model."""

from __future__ import annotations

import statistics
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

INTERVAL_MS = 200


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
