"""How our cost grows: one thing is changed at a time, a line is fitted. Knows no table.

Training is measured with a small ViT-B/32 run; the seconds of one call, loader start included.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

from lab.benchmarks.speed import auditing, training
from lab.benchmarks.speed.material import write_labelled, write_pairs
from lab.benchmarks.speed.measuring import as_a_job, slope, spread

MODEL = "ViT-B/32"


def measure(scratch: Path, *, repetitions: int, small: bool, device: torch.device) -> list[dict[str, Any]]:
    """Four rows: pairs, batch (same pairs), pixels of an image, triggers."""
    unit = 8 if small else 32
    pairs = {count: write_pairs(scratch / f"grow-{count}", count) for count in (unit, 2 * unit, 4 * unit)}
    labelled = write_labelled(scratch / "grow-labelled", unit, 4)
    batch = unit // 2

    def trained(side: int, folder: Path, batch_size: int) -> float:
        return as_a_job(training.ours_s, MODEL, folder, batch_size, device, side)

    def audited(num_triggers: int) -> float:
        return as_a_job(auditing.ours_s, MODEL, labelled, num_triggers, 4, device)

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
