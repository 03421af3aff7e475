"""What is measured on a GPU, part by part. Jobs are those of `sanitizer.pipeline`."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from cleanclip.kinds.phase import Load
from cleanclip.kinds.sanitize import SANITIZE
from cleanclip.vocabulary import attack_options
from cleanclip.vocabulary import recipe as recipes
from cleanclip.vocabulary.device_memory import Memory, memory_of
from cleanclip.vocabulary.device_plan import DevicePlan, Work
from cleanclip.vocabulary.jobspec import AuditSpec, SanitizeSpec, ScanSpec
from cleanclip.vocabulary.progress import PhaseFinished, PhaseStarted, ProgressEvent
from cleanclip.vocabulary.recipe import AuditOptions, CleanCLIPRecipe, Recipe
from cleanclip.vocabulary.recommended import with_recommended
from cleanclip.vocabulary.report import Report
from cleanclip.vocabulary.scan_options import ScanOptions
from cleanclip.vocabulary.scan_report import ScanReport
from cleanclip.vocabulary.uar_recipe import UARRecipe
from lab.benchmarks.speed import baseline
from lab.benchmarks.speed.measuring import watching
from lab.gpu.order import Order
from sanitizer.cli.canonical import model_in
from sanitizer.data.labelled import LabelledDataset, open_labelled
from sanitizer.data.pairs import PairDataset, open_pairs
from sanitizer.pipeline import operations
from sanitizer.pipeline.places import Places
from sanitizer.pipeline.scan import scan as scan_model
from sanitizer.run import Run

Row = dict[str, Any]
"""`figures`; of a job also its minutes, its phases, what the plan says, and how busy the device was."""
ROOT = Path(__file__).resolve().parents[2]
EIGHT = (
    *(attack_options.BadNetOptions(), attack_options.BadNetOptions(pattern="stripes_redrawn")),
    *(attack_options.BadNetOptions(pattern="checkerboard"), attack_options.BlendedOptions()),
    attack_options.BlendedOptions(pattern="stripes_redrawn", alpha=0.03),
    attack_options.BlendedOptions(pattern="triangles", alpha=0.15),
    *(attack_options.WaNetOptions(), attack_options.SIGOptions()),
)
# Inversions are no updates: the cleaning has them.
_UPDATES = UARRecipe(inverted_patches=0, inverted_blends=0, inversion_steps=0, reinversion_steps=0)
_RECIPES: tuple[Recipe, ...] = (CleanCLIPRecipe(), recipes.PARRecipe(), recipes.SupervisedRecipe(), _UPDATES)


def tests(order: Order) -> Row:
    """How many of tests/gpu passed."""
    command = [sys.executable, "-m", "pytest", "tests/gpu", "--tb=short", "-p", "no:xdist"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    summary = (done.stdout.strip().splitlines() or [done.stderr[-300:]])[-1]
    if done.returncode:
        raise RuntimeError(summary)
    return {"figures": {what: int(num) for num, what in re.findall(r"(\d+) (passed|skipped)", summary)}}


def reference(order: Order) -> Row:
    """CleanCLIP and the research recipe in turn, in batches that fit the latter, which is float32."""
    # A plan leaves no room for what a plain implementation keeps besides.
    batch = 3 * _largest(order, CleanCLIPRecipe(precision="fp32")) // 4
    sizes = {"num_pairs": 8 * batch, "batch_size": batch, "repetitions": 1 if order.is_quick else 3}
    with tempfile.TemporaryDirectory(prefix="gpu-") as scratch:
        row = baseline.compare(order.made_model, Path(scratch), device=order.device, **sizes)
    ours, theirs = (row["pairs"] / row[side]["median"] for side in ("ours_s", "baseline_s"))
    ratio = {f"ratio, {which}": value for which, value in row["ratio"].items()}
    return {"figures": {"batch": batch, "pairs/s": ours, "of the baseline": theirs, **ratio}}


def updates(order: Order, recipe: Recipe) -> Row:
    """Of one method in bf16, at the largest batch that by the plan fits, on images that are made."""
    order, recipe = replace(order, data=None), replace(recipe, precision="bf16")
    num = len(_training_data(order, recipe))
    batch = min(_largest(order, recipe), num // 4)
    epochs = math.ceil((3 if order.is_quick else 16) / (num // batch))
    stages: Row = {"strong_epochs": epochs} if isinstance(recipe, UARRecipe) else {}
    recipe = replace(recipe, batch_size=batch, epochs=epochs, **stages)
    return _job(order, recipe=recipe, only="finetune")


def scan(order: Order) -> Row:
    """With a thousand classes: those of the labelled set, and further ones."""
    further = order.classes[len(open_labelled(order.images("labelled")).class_names) :]
    return _job(order, scan=ScanOptions(further_classes=further, vocabulary=not order.is_quick))


def cleaning(order: Order) -> Row:
    """By UAR, with two audits of eight triggers and the search. It resumes where it was interrupted."""
    recipe = with_recommended(UARRecipe(), (), model_in(order.checkpoint))
    if order.is_quick:
        recipe = UARRecipe(epochs=2, strong_epochs=1, batch_size=16, inversion_steps=2, reinversion_steps=2)
    return _job(order, recipe=recipe)


def _job(
    order: Order, *, recipe: Recipe | None = None, scan: ScanOptions | None = None, only: str | None = None
) -> Row:
    """What an audit of eight triggers, a scan or a cleaning took, or `only` one phase of it; and the plan."""
    folder = order.images("few" if only else "labelled")
    labelled = open_labelled(folder)
    audit = AuditOptions(target=labelled.class_names[0], attacks=EIGHT)
    sizes = {"labelled_dataset_id": len(labelled)}
    if recipe is not None:
        sizes["dataset_id"] = len(_training_data(order, recipe))
    parts = {"recipe": recipe, "audit": None if scan else audit, "scan": scan}
    num_classes = len(labelled.class_names) + len(scan.further_classes if scan else ())
    load = Load(parts=parts, sizes=sizes, num_classes=num_classes)
    watch, began = _Watch(order.device), time.perf_counter()
    report: Report | ScanReport
    run = Run(device=order.device, progress=watch)
    with tempfile.TemporaryDirectory(prefix="gpu-") as scratch, watching(order.device) as busy:
        places = Places(
            checkpoint=order.checkpoint,
            data=folder,
            out=Path(scratch),
            training=None if recipe is None else order.images(recipe.training_data),
            state=Path(scratch) / "state" if only else order.results / "state",
        )
        if scan is not None:
            report = scan_model(places, ScanSpec(scan=scan, save_every_s=None), run)
        elif recipe is None:
            report = operations.audit(places, AuditSpec(audit=audit), run)
        else:
            spec = SanitizeSpec(recipe=recipe, audit=audit, searches=only is None)
            report = operations.sanitize(places, spec, run)
            watch(PhaseFinished(phase="final_audit"))  # later than it said itself: with the search
    seconds = time.perf_counter() - began
    shutil.rmtree(order.results / "state", ignore_errors=True)
    memory = [need for need in _memory(order, parts) if only in {None, need.phase}]
    for need in memory:
        if need.phase in watch.phases:  # a cleaning that resumes does not repeat its first audit
            watch.phases[need.phase]["plan"] = need.total_bytes
    phases = {phase: row for phase, row in watch.phases.items() if only in {None, phase}}
    return {
        "figures": _figures(report) if only is None else _of_training(report),
        "minutes": (phases[only]["seconds"] if only else seconds) / 60,
        "plan_minutes": _plan_minutes(order, load, memory),
        "busy": busy.mean,
        "phases": phases,
    }


def _figures(report: Report | ScanReport) -> Row:
    figures: Row = {"outcome": report.verdict.outcome}
    figures |= {f"{data.kind} samples": data.num_samples for data in report.data}
    if isinstance(report, ScanReport):
        return figures | {"classes": report.num_classes}
    for when, audited in {"before": report.before, "after": report.after}.items():
        if audited is not None:
            highest = max(attack.asr.value for attack in audited.attacks)
            figures |= {f"CA {when}": audited.ca.value, f"highest ASR {when}": highest}
    return figures | _of_training(report)


def _of_training(report: Any) -> Row:
    if (done := report.training) is None:
        return {}
    figures = {"batch": report.recipe.batch_size, "updates": done.num_steps, "samples/s": done.pairs_per_s}
    return figures | {"interruptions": len(done.resumed_from_steps)}


def _training_data(order: Order, recipe: Recipe) -> PairDataset | LabelledDataset:
    folder = order.images(recipe.training_data)
    return open_pairs(folder) if recipe.training_data == "pairs" else open_labelled(folder)


def _memory(order: Order, parts: Row) -> tuple[Memory, ...]:
    is_cuda = order.device.type == "cuda"
    return memory_of(order.cost, **parts, worker_bytes=order.device_bytes, is_cuda=is_cuda)


def _largest(order: Order, recipe: Recipe) -> int:
    """Samples of an update that by the plan fit the device."""
    parts = {"recipe": recipe, "audit": AuditOptions(target="any")}
    [largest] = [need.largest_here or 0 for need in _memory(order, parts) if need.phase == "finetune"]
    return min(16 if order.is_quick or order.device.type == "cpu" else 4_096, largest)


def _plan_minutes(order: Order, load: Load, memory: list[Memory]) -> tuple[float, float] | None:
    """Where the plan knows the device."""
    work = [
        Work(flop=phase.flop(load, order.cost), precision=phase.precision_on_gpu(load))
        for phase in (SANITIZE.phase(need.phase) for need in memory)
    ]
    spans = DevicePlan.of({1: memory}, work).minutes
    return next(((one.low, one.high) for one in spans if one.device.split()[0] in order.device_name), None)


@dataclass
class _Watch:
    """Seconds and peaks of each phase."""

    device: torch.device
    phases: dict[str, dict[str, float]] = field(default_factory=dict)
    began: float = 0.0

    def __call__(self, event: ProgressEvent) -> None:
        is_cuda = self.device.type == "cuda"
        if isinstance(event, PhaseStarted):
            self.began = time.perf_counter()
            if is_cuda:
                torch.cuda.reset_peak_memory_stats(self.device)
        elif isinstance(event, PhaseFinished):
            row = self.phases[event.phase] = {"seconds": time.perf_counter() - self.began}
            if is_cuda:
                row["allocated"] = torch.cuda.max_memory_allocated(self.device)
                row["reserved"] = torch.cuda.max_memory_reserved(self.device)


PARTS: Mapping[str, Callable[[Order], Row]] = {
    "tests": tests,
    "reference": reference,
    **{f"updates-{recipe.method}": partial(updates, recipe=recipe) for recipe in _RECIPES},
    "audit": _job,
    "scan": scan,
    "cleaning": cleaning,
}


def run(name: str, order: Order) -> Row:
    """One part. Its failure is a result: not every error can leave a process, so its words do."""
    try:
        return PARTS[name](order)
    except Exception as error:  # noqa: BLE001 - whatever a part or the device fails with
        return {"failure": f"{type(error).__name__}: {error}"}
