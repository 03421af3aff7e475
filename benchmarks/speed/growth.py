"""How our cost grows: one thing is changed at a time, a line is fitted. Knows no table.

Training is measured with a small ViT-B/32 run; the seconds of one call, loader start included.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

from benchmarks.speed import auditing, training
from benchmarks.speed.material import checkpoint, write_labelled, write_pairs
from benchmarks.speed.measuring import slope, spread
from sanitizer.data.labelled import open_labelled
from sanitizer.training.device import share_cores

MODEL = "ViT-B/32"


def measure(scratch: Path, *, repetitions: int, small: bool, device: torch.device) -> list[dict[str, Any]]:
    """Four rows: pairs, batch (same pairs), pixels of an image, triggers."""
    unit = 8 if small else 32
    pairs = {count: write_pairs(scratch / f"grow-{count}", count) for count in (unit, 2 * unit, 4 * unit)}
    labelled = open_labelled(write_labelled(scratch / "grow-labelled", unit, 4))
    models = {side: checkpoint(MODEL, side) for side in (96, 160, 224)}
    share_cores(models[224].model, device)
    batch = unit // 2

    def trained(side: int, folder: Path, batch_size: int) -> float:
        return training.ours_s(models[side], folder, batch_size, device)

    def audited(num_triggers: int) -> float:
        return auditing.ours_s(
            models[224], labelled, num_triggers=num_triggers, num_templates=4, device=device
        )

    return [
        _row("pairs", pairs, lambda n: trained(224, pairs[n], batch), repetitions),
        _row(
            "batch", (batch // 2, batch, 2 * batch), lambda n: trained(224, pairs[2 * unit], n), repetitions
        ),
        _row(
            "pixels of an image",
            (96**2, 160**2, 224**2),
            lambda n: trained(round(n**0.5), pairs[unit], batch),
            repetitions,
        ),
        _row("triggers", (1, 2, 4, 8), audited, repetitions),
    ]


def _row(what: str, values: Iterable[int], work: Callable[[int], float], repetitions: int) -> dict[str, Any]:
    print(f"growth with {what}", flush=True)
    points = [(value, spread([work(value) for _ in range(repetitions)])) for value in values]
    return {
        "what": what,
        "points": [{"value": value, "seconds": seconds} for value, seconds in points],
        "line": slope([(float(value), seconds["median"]) for value, seconds in points]),
    }
