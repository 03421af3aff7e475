"""Cleaning, end to end with decoding: the baseline and ours over the same pairs. Knows no table.

The research recipe trains BatchNorm, ours leaves its statistics as they are. Where a model has it, the
baseline is timed in both ways, so that what is faster can be told from what is left out.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from cleanclip.spec.recipe import CleanCLIPRecipe
from lab.benchmarks.speed import baseline
from lab.benchmarks.speed.material import checkpoint, write_pairs
from lab.benchmarks.speed.measuring import as_a_job, in_own_process, in_turn, seconds, spread
from sanitizer.data.pairs import open_pairs
from sanitizer.training.device import share_cores
from sanitizer.training.loop import finetune
from sanitizer.training.towers import has_batch_norm

SEED = 0


def recipe(batch_size: int) -> CleanCLIPRecipe:
    """The defaults, over one epoch."""
    return CleanCLIPRecipe(epochs=1, batch_size=batch_size, warmup_steps=1)


def ours_s(name: str, folder: Path, batch_size: int, device: torch.device) -> float:
    """Seconds of one epoch by the library."""
    loaded = checkpoint(name)
    num_workers = share_cores(loaded.model, device)
    return seconds(
        lambda: finetune(
            loaded,
            open_pairs(folder),
            recipe(batch_size),
            seed=SEED,
            device=device,
            num_workers=num_workers,
        )
    )


def baseline_s(
    name: str, folder: Path, batch_size: int, device: torch.device, *, freezes_batch_norm: bool = False
) -> float:
    """Seconds of one epoch by the research recipe."""
    loaded = checkpoint(name)
    num_workers = share_cores(loaded.model, device)
    torch.manual_seed(SEED)
    theirs = replace(recipe(batch_size), freeze_batch_norm_statistics=freezes_batch_norm)
    return seconds(lambda: baseline.train(loaded, folder, theirs, num_workers=num_workers, device=device))


def compare(
    name: str, scratch: Path, *, num_pairs: int, batch_size: int, repetitions: int, device: torch.device
) -> dict[str, Any]:
    """One row of the table."""
    folder = write_pairs(scratch / f"pairs-{name.replace('/', '-')}", num_pairs)
    num_trained = num_pairs // batch_size * batch_size
    print(f"{name}: {num_trained} pairs in batches of {batch_size}", flush=True)
    ours: list[float] = []
    frozen: list[float] = []

    def one_of_ours() -> float:
        ours.append(as_a_job(ours_s, name, folder, batch_size, device))
        if has_batch_norm(checkpoint(name).model):
            work = partial(baseline_s, freezes_batch_norm=True)
            frozen.append(in_own_process(work, name, folder, batch_size, device))
        return ours[-1]

    row = in_turn(
        lambda: in_own_process(baseline_s, name, folder, batch_size, device),
        one_of_ours,
        repetitions,
        lambda line: print(line, flush=True),
    )
    if frozen:
        row["frozen_baseline_s"] = spread(frozen)
        row["frozen_ratio"] = spread([theirs / our for theirs, our in zip(frozen, ours, strict=True)])
    return {"model": name, "pairs": num_trained, "batch": batch_size, **row}
