"""Cleaning, end to end with decoding: the baseline and ours over the same pairs. Knows no page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from cleanclip.spec.recipe import CleanCLIPRecipe
from lab.benchmarks.speed import baseline
from lab.benchmarks.speed.material import checkpoint, write_pairs
from lab.benchmarks.speed.measuring import as_a_job, in_own_process, in_turn, seconds
from sanitizer.data.pairs import open_pairs
from sanitizer.training.device import share_cores
from sanitizer.training.loop import finetune

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


def baseline_s(name: str, folder: Path, batch_size: int, device: torch.device) -> float:
    """Seconds of one epoch by the research recipe."""
    loaded, theirs = checkpoint(name), recipe(batch_size)
    num_workers = share_cores(loaded.model, device)
    torch.manual_seed(SEED)
    return seconds(lambda: baseline.train(loaded, folder, theirs, num_workers=num_workers, device=device))


def compare(
    name: str, scratch: Path, *, num_pairs: int, batch_size: int, repetitions: int, device: torch.device
) -> dict[str, Any]:
    """What both took, in turn, and over how many pairs."""
    folder = write_pairs(scratch / f"pairs-{name.replace('/', '-')}", num_pairs)
    num_trained = num_pairs // batch_size * batch_size
    print(f"{name}: {num_trained} pairs in batches of {batch_size}", flush=True)
    row = in_turn(
        lambda: in_own_process(baseline_s, name, folder, batch_size, device),
        lambda: as_a_job(ours_s, name, folder, batch_size, device),
        repetitions,
        lambda line: print(line, flush=True),
    )
    return {"pairs": num_trained, **row}
