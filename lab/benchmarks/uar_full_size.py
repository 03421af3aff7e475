"""UAR beside CleanCLIP at full size: memory and processor time of a few updates each.

    .venv/bin/python -m lab.benchmarks.uar_full_size --scratch DIR [--pairs 32] [--batch-size 8]

RN50 and ViT-B/32 with random weights on photographs of 224 pixels; each method in a process of its own, one
thread. What is counted is processor time, which other work on the machine disturbs less than the clock; the
first update of a run is left out. Appends lines to docs/reproduction/uar-full-size.jsonl.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from cleanclip.spec.progress import Advanced, ProgressEvent
from cleanclip.spec.recipe import CleanCLIPRecipe, Recipe, UARRecipe
from lab.benchmarks.speed.material import checkpoint, write_pairs
from lab.benchmarks.speed.measuring import as_a_job, machine, spread
from sanitizer.data.pairs import open_pairs
from sanitizer.training.loop import finetune

OUT = Path(__file__).resolve().parents[2] / "docs" / "reproduction" / "uar-full-size.jsonl"
NAMES = ("RN50", "ViT-B/32")


def recipes(batch_size: int) -> dict[str, Recipe]:
    """The defaults over one epoch; of uar with one step of inversion, which is timed by itself."""
    return {
        "cleanclip": CleanCLIPRecipe(epochs=1, batch_size=batch_size, warmup_steps=1),
        "uar": UARRecipe(epochs=1, strong_epochs=1, batch_size=batch_size, warmup_steps=1, inversion_steps=1),
    }


def run(name: str, method: str, folder: Path, batch_size: int) -> dict[str, Any]:
    """One line. To be called in a process of its own, whose peak memory it reads."""
    torch.set_num_threads(1)
    loaded, data = checkpoint(name), open_pairs(folder)
    before_bytes = _peak_bytes()
    marks: list[float] = [time.process_time()]
    inversion: list[float] = []

    def progress(event: ProgressEvent) -> None:
        if isinstance(event, Advanced):
            done = inversion if event.message and "Inverting" in event.message else marks
            done.append(time.process_time())

    finetune(
        loaded,
        data,
        recipes(batch_size)[method],
        seed=0,
        device=torch.device("cpu"),
        progress=progress,
    )
    updates = [after - before for before, after in pairwise(marks[1:])]
    return {
        "model": name,
        "method": method,
        "batch_size": batch_size,
        "cpu_s_per_update": spread(updates),
        "pairs_per_cpu_s": batch_size * len(updates) / sum(updates),
        "inversion_step_cpu_s": inversion[0] - marks[0] if inversion else None,
        "peak_mb": round(_peak_bytes() / 1e6),
        "loaded_mb": round(before_bytes / 1e6),
        "machine": machine(torch.device("cpu")),
    }


def _peak_bytes() -> int:
    found = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"), re.M)
    assert found is not None
    return 1000 * int(found[1])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--model", action="append", choices=NAMES)
    given = parser.parse_args()
    folder = given.scratch / "pairs"
    shutil.rmtree(folder, ignore_errors=True)
    write_pairs(folder, given.pairs)
    for name in given.model or NAMES:
        for method in recipes(given.batch_size):
            line = as_a_job(run, name, method, folder, given.batch_size)
            with OUT.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(line) + "\n")
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
