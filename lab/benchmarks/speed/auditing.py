"""An audit of eight triggers: the baseline's one run a trigger, and ours, in float32 and in bf16.

Knows no table.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

import torch

from cleanclip.spec.recipe import (
    AuditOptions,
    AuditPrecision,
    BadNetOptions,
    BlendedOptions,
    SIGOptions,
    WaNetOptions,
)
from lab.benchmarks.speed import baseline
from lab.benchmarks.speed.material import checkpoint, write_labelled
from lab.benchmarks.speed.measuring import as_a_job, in_own_process, in_turn, seconds, spread
from sanitizer.attacks.catalogue import build_triggers
from sanitizer.audits.audit import run_audit
from sanitizer.data.labelled import open_labelled
from sanitizer.data.templates import IMAGENET_80
from sanitizer.run import Run
from sanitizer.training.device import share_cores

EIGHT = (
    BadNetOptions(),
    BadNetOptions(pattern="stripes_redrawn"),
    BadNetOptions(pattern="checkerboard"),
    BlendedOptions(),
    BlendedOptions(pattern="stripes_redrawn", alpha=0.03),
    BlendedOptions(pattern="triangles", alpha=0.15),
    WaNetOptions(),
    SIGOptions(),
)
BATCH_SIZE = 32


def ours_s(
    name: str,
    folder: Path,
    num_templates: int,
    device: torch.device,
    *,
    precision: AuditPrecision = "fp32",
) -> float:
    """Seconds of one audit by the library."""
    labelled, loaded = open_labelled(folder), checkpoint(name)
    num_workers = share_cores(loaded.model, device)
    options = AuditOptions(
        target=labelled.class_names[0],
        attacks=EIGHT,
        templates=IMAGENET_80[:num_templates],
        batch_size=BATCH_SIZE,
        precision=precision,
    )
    return seconds(
        lambda: run_audit(
            loaded,
            labelled,
            options,
            Run(device=device, num_workers=num_workers),
            seed=0,
            phase="baseline_audit",
        )
    )


def baseline_s(name: str, folder: Path, num_templates: int, device: torch.device) -> tuple[float, float]:
    """Seconds of nine runs, one without trigger and one a trigger; and how many of them were prompts."""
    labelled, loaded = open_labelled(folder), checkpoint(name)
    num_workers = share_cores(loaded.model, device)
    began, prompts_s = time.perf_counter(), 0.0
    for trigger in (None, *build_triggers(EIGHT)):
        began_run = time.perf_counter()
        class_CD = baseline.embed_classes(loaded, labelled.class_names, IMAGENET_80[:num_templates], device)
        prompts_s += time.perf_counter() - began_run
        baseline.predict(
            loaded,
            labelled,
            trigger,
            class_CD,
            batch_size=BATCH_SIZE,
            num_workers=num_workers,
            device=device,
        )
    return time.perf_counter() - began, prompts_s


def compare(
    name: str,
    scratch: Path,
    *,
    num_images: int,
    num_classes: int,
    num_templates: int,
    repetitions: int,
    device: torch.device,
) -> dict[str, Any]:
    """One row; `prompts_once` is the ratio had the baseline embedded its classes only once."""
    folder = write_labelled(scratch / f"labelled-{name.replace('/', '-')}", num_images, num_classes)
    print(f"{name}: {num_images} images, {num_classes * num_templates} prompts, 8 triggers", flush=True)
    runs: list[tuple[float, float]] = []
    ours: list[float] = []
    in_bf16: list[float] = []

    def one_baseline() -> float:
        runs.append(in_own_process(baseline_s, name, folder, num_templates, device))
        return runs[-1][0]

    def one_of_ours() -> float:
        ours.append(as_a_job(ours_s, name, folder, num_templates, device))
        in_bf16.append(as_a_job(partial(ours_s, precision="bf16"), name, folder, num_templates, device))
        return ours[-1]

    row = in_turn(one_baseline, one_of_ours, repetitions, lambda line: print(line, flush=True))
    repeated = len(EIGHT) / (len(EIGHT) + 1)
    once = [(total - prompts * repeated) / our for (total, prompts), our in zip(runs, ours, strict=True)]
    return {
        "model": name,
        "images": num_images,
        "prompts": num_classes * num_templates,
        **row,
        "baseline_prompts_s": spread([prompts for _, prompts in runs]),
        "prompts_once": spread(once),
        "bf16_s": spread(in_bf16),
        "bf16_ratio": spread([total / our for (total, _), our in zip(runs, in_bf16, strict=True)]),
    }
