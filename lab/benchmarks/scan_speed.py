"""How much of what a tower can do a scan uses: passes a second of each detector beside the plain rate.

    python -m lab.benchmarks.scan_speed CHECKPOINT_FOLDER LABELLED [--wall]

The plain rate is of forward and backward in the pixels of `images_at_once` images, in the same layout and
arithmetic. Seconds are those of the processor, summed over threads, which a busy machine changes little; with
--wall those of the clock, as they must be on a GPU.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch

from cleanclip.spec.scan_options import ScanOptions
from sanitizer.perturbations.ascent import to_unit
from sanitizer.pipeline.scan_opening import open_for_scan
from sanitizer.scans import collapse
from sanitizer.scans.subject import Subject

_PLAIN_ROUNDS = 8


def main() -> None:
    """Print one row for each family and detector."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("labelled", type=Path)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--wall", action="store_true")
    typed = parser.parse_args()
    clock, options = time.monotonic if typed.wall else time.process_time, ScanOptions()
    with open_for_scan(typed.checkpoint, typed.labelled, options, seed=0, device=typed.device) as opened:
        subject = opened.subject
        plain = max(_plain(subject, clock) for _ in range(_PLAIN_ROUNDS))
        print("| what | passes | passes/s | of the plain rate |\n|---|---|---|---|")
        print(_row("plain", 0, plain, plain))
        total_passes, total_s = 0, 0.0
        for name, run in _parts(subject, options).items():
            before, started = subject.meter.num_passes, clock()
            run()
            passes, seconds = subject.meter.num_passes - before, clock() - started
            total_passes, total_s = total_passes + passes, total_s + seconds
            print(_row(name, passes, passes / seconds, plain), flush=True)
        print(_row(f"all, {total_s:.0f} s", total_passes, total_passes / total_s, plain))


def _row(name: str, passes: int, rate: float, plain: float) -> str:
    return f"| {name} | {passes:,} | {rate:.0f} | {rate / plain:.2f} |"


def _parts(subject: Subject, options: ScanOptions) -> dict[str, Callable[[], object]]:
    parts: dict[str, Callable[[], object]] = {}
    for family in options.collapse.families:
        parts[f"collapse, {family.name}"] = lambda f=family: collapse.detect(subject, f, options.collapse)
    return parts


def _plain(subject: Subject, clock: Callable[[], float]) -> float:
    """Passes a second of one batch as large as a scan's."""
    pixels = to_unit(subject.image_MCHW[: subject.at_once]).requires_grad_()
    started = clock()
    torch.autograd.grad(subject.embed(pixels).sum(), pixels)
    if pixels.is_cuda:
        torch.cuda.synchronize()
    return len(pixels) / (clock() - started)


if __name__ == "__main__":
    main()
