"""Whether what is faster cleans as well: one poisoned model, cleaned by the baseline and by ours.

The demo's model, pairs, test images and recipe; an order of its own for every seed. The baseline is run as
research code has it, which trains BatchNorm, and with its statistics frozen, as ours. All are measured by
the same audit. Knows no table.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from cleanclip.spec.progress import ignore
from demo.recipe import ATTACK, AUDIT, CLEANING, NUM_CLEAN_PAIRS, NUM_TEST_IMAGES, POISONING
from demo.run import NUM_THREADS
from lab.benchmarks.speed import baseline
from lab.benchmarks.speed.material import write_manifest
from lab.benchmarks.speed.measuring import as_a_job, in_own_process
from lab.testbed.glyphs import digits
from lab.testbed.pictures import Pictures, compose
from lab.testbed.shards import images, write_labelled
from lab.testbed.subject import find_or_train, unpack
from sanitizer.audits.audit import AuditResult, run_audit
from sanitizer.audits.statistics import paired_difference
from sanitizer.checkpoints.model import LoadedCheckpoint, load_canonical
from sanitizer.data.labelled import open_labelled
from sanitizer.data.pairs import open_pairs
from sanitizer.training.device import share_cores
from sanitizer.training.loop import finetune

POISON_SEED = 1
Side = Literal["input", "baseline", "baseline, BatchNorm frozen", "ours"]
SIDES: tuple[Side, ...] = ("baseline", "baseline, BatchNorm frozen", "ours")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all sides have in common: `data` holds pairs and labelled images."""

    model_folder: Path
    data: Path
    epochs: int
    device: torch.device

    def measured(self, side: Side, seed: int) -> tuple[float, AuditResult]:
        """Seconds of the cleaning, and what the audit found afterwards."""
        loaded = load_canonical(self.model_folder)
        num_workers = share_cores(loaded.model, self.device)
        torch.manual_seed(seed)
        began = time.perf_counter()
        self._clean(loaded, side, seed, num_workers)
        seconds = time.perf_counter() - began
        found = run_audit(
            loaded,
            open_labelled(self.data / "labelled"),
            AUDIT,
            seed=POISON_SEED,
            device=self.device,
            progress=ignore,
            phase="final_audit",
            stop=lambda: False,
            num_workers=num_workers,
        )
        return seconds, replace(found, examples=())

    def _clean(self, loaded: LoadedCheckpoint, side: Side, seed: int, num_workers: int) -> None:
        pairs, recipe = self.data / "pairs", replace(CLEANING, epochs=self.epochs)
        if side == "ours":
            opened = open_pairs(pairs)
            finetune(loaded, opened, recipe, seed=seed, device=self.device, num_workers=num_workers)
        elif side != "input":
            theirs = replace(recipe, freeze_batch_norm_statistics=side != "baseline")
            baseline.train(loaded, pairs, theirs, num_workers=num_workers, device=self.device)


def compare(
    poisoned: Path, scratch: Path, *, num_seeds: int, small: bool, device: torch.device
) -> list[dict[str, Any]]:
    """A row of the model that came in, then one of every seed and side.

    `poisoned` keeps the model between runs. CA is compared with the baseline's of the same seed, on the same
    images.
    """
    options, num_pairs, num_images, epochs = POISONING, NUM_CLEAN_PAIRS, NUM_TEST_IMAGES, CLEANING.epochs
    if small:
        options, num_pairs, num_images, epochs = replace(options, num_pairs=512, epochs=1), 128, 60, 1
    print("the poisoned model: found, or trained now for some minutes", flush=True)
    torch.set_num_threads(NUM_THREADS)  # as the demo does, which may have made it
    subject = find_or_train(poisoned, options, ATTACK, seed=POISON_SEED)
    _write_pairs(compose(digits(), "cleaning", num_pairs, seed=POISON_SEED), scratch / "pairs")
    write_labelled(digits(), compose(digits(), "test", num_images, seed=POISON_SEED), scratch / "labelled")
    setting = Setting(
        model_folder=unpack(subject.path, options, scratch / "poisoned"),
        data=scratch,
        epochs=epochs,
        device=device,
    )
    rows = [_row("input", None, in_own_process(setting.measured, "input", 0), None)]
    for seed in range(1, num_seeds + 1):
        of_baseline: AuditResult | None = None
        for side in SIDES:
            run = as_a_job if side == "ours" else in_own_process
            measured = run(setting.measured, side, seed)
            rows.append(_row(side, seed, measured, of_baseline))
            print(f"  {rows[-1]}", flush=True)
            of_baseline = of_baseline or measured[1]
    return rows


def _row(
    side: Side, seed: int | None, measured: tuple[float, AuditResult], of_baseline: AuditResult | None
) -> dict[str, Any]:
    seconds, found = measured
    (attack,) = found.figures.attacks
    lost = None
    if of_baseline is not None:
        lost = asdict(paired_difference(of_baseline.correct_N.tolist(), found.correct_N.tolist()))
    return {
        "side": side,
        "seed": seed,
        "seconds": seconds,
        "ca": asdict(found.figures.ca),
        "asr": asdict(attack.asr),
        "pa": asdict(attack.pa),
        "ca_lost_to_baseline": lost,
    }


def _write_pairs(pictures: Pictures, folder: Path) -> None:
    """Files and a manifest, which both sides read."""
    folder.mkdir(parents=True)
    rows = []
    for number, (image, caption) in enumerate(zip(images(pictures), pictures.caption_N, strict=True)):
        image.save(folder / f"{number:06d}.png")
        rows.append((f"{number:06d}.png", caption))
    write_manifest(folder, rows)
