"""One cleaning as long as it is asked for, ours alone: pairs a second, and how busy a GPU is. Knows no table.

The start of the loader and of the device is in it, as in a job; states are not saved.
"""

from __future__ import annotations

import statistics
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from lab.benchmarks.speed.material import checkpoint, write_pairs
from lab.benchmarks.speed.measuring import as_a_job
from lab.benchmarks.speed.training import SEED, recipe
from sanitizer.data.pairs import open_pairs
from sanitizer.training.device import share_cores
from sanitizer.training.loop import finetune

NUM_DIFFERENT = 2_000
"""Images that are made; more pairs share them, and are read from the system's cache."""
INTERVAL_MS = 200


def cleaned(name: str, folder: Path, batch_size: int, epochs: int, device: torch.device) -> dict[str, Any]:
    """Seconds, precision, busy share and peak of the device's memory; None for what no GPU told."""
    loaded = checkpoint(name)
    num_workers = share_cores(loaded.model, device)
    with watching(device) as utilisation:
        began = time.perf_counter()
        done = finetune(
            loaded,
            open_pairs(folder),
            replace(recipe(batch_size), epochs=epochs),
            seed=SEED,
            device=device,
            num_workers=num_workers,
        )
        seconds = time.perf_counter() - began
    return {
        "seconds": seconds,
        "loading_processes": num_workers,
        "precision": done.precision,
        "busy": utilisation.mean,
        "num_samples": len(utilisation.samples),
        "peak_bytes": torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None,
    }


def measure(
    name: str, scratch: Path, *, num_pairs: int, batch_size: int, epochs: int, device: torch.device
) -> dict[str, Any]:
    """One row."""
    folder = scratch / f"long-{name.replace('/', '-')}"
    write_pairs(folder, num_pairs, num_different=NUM_DIFFERENT)
    num_trained = num_pairs // batch_size * batch_size
    print(f"{name}: {num_trained} pairs in batches of {batch_size}, {epochs} epochs", flush=True)
    found = as_a_job(cleaned, name, folder, batch_size, epochs, device)
    return {"model": name, "pairs": num_trained, "batch": batch_size, "epochs": epochs, **found}


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
