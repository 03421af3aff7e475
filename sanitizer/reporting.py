"""Gathers what a report says beside the figures: machine, inputs, warnings. Measures and trains nothing."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from sanitizer.checkpoints.model import LoadedCheckpoint
from sanitizer.data.labelled import LabelledDataset
from sanitizer.data.training_data import LabelsAsCaptions, TrainingData
from sanitizer.recipe import CleanCLIPRecipe, DeclaredOptions, PARRecipe, Recipe, parse
from sanitizer.report import AuditFigures, CheckpointInput, DataInput, Environment, ScannerEvidence, Training

MIN_PAIRS_PER_CLASS = 75
"""In the project's trials 50 clean pairs a class cost ten points of clean accuracy, 100 none."""
MIN_STEPS = 500
"""A few hundred large steps are retraining rather than fine-tuning; the paper takes 15,620 small ones."""


def environment(device: torch.device, precision: str) -> Environment:
    """This machine and the versions that decide figures."""
    return Environment(
        code_version=_version("cleanclip-service"),
        python=platform.python_version(),
        torch=torch.__version__,
        open_clip=_version("open_clip_torch"),
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        machine=f"{platform.system()} {platform.machine()}, {_processor()}, {os.cpu_count()} cores",
        num_threads=torch.get_num_threads(),
        precision=precision,
    )


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "unknown"


def _processor() -> str:
    """The processor's name where the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or "unknown processor"


def checkpoint_input(checkpoint: LoadedCheckpoint, upload_sha256: str | None) -> CheckpointInput:
    """What came in. A digest given by the caller wins over the one in the checkpoint's own record."""
    origin = checkpoint.provenance
    return CheckpointInput(
        upload_sha256=upload_sha256 or origin.get("upload_sha256"),
        weights_sha256=checkpoint.weights_sha256,
        layout=origin.get("layout", "open_clip"),
        architecture=checkpoint.architecture.to_config(),
        declared=parse(DeclaredOptions, origin.get("declared", {})),
        findings=tuple(origin.get("findings", ())),
        scanners=tuple(parse(ScannerEvidence, evidence) for evidence in origin.get("scanners", ())),
    )


def training_input(data: TrainingData, num_skipped: int, skipped_examples: Sequence[str]) -> DataInput:
    """What the model was trained on. `num_samples` counts all, the skipped included."""
    labelled = data.labelled if isinstance(data, LabelsAsCaptions) else None
    return DataInput(
        kind="pairs" if labelled is None else "training",
        num_classes=None if labelled is None else len(labelled.class_names),
        sha256=data.sha256,
        num_samples=len(data),
        num_skipped=num_skipped,
        skipped_examples=tuple(skipped_examples),
    )


def labelled_input(labelled: LabelledDataset, num_skipped: int, skipped_examples: Sequence[str]) -> DataInput:
    """The test set. `num_samples` counts all, the skipped included."""
    return DataInput(
        kind="labelled",
        sha256=labelled.sha256,
        num_samples=len(labelled),
        num_skipped=num_skipped,
        num_classes=len(labelled.class_names),
        skipped_examples=tuple(skipped_examples),
    )


def recipe_warnings(recipe: Recipe, *, num_pairs: int, num_classes: int) -> list[str]:
    """Sentences on choices that may disappoint, known before any training."""
    warnings = []
    num_steps = recipe.epochs * (num_pairs // recipe.batch_size)
    what = "pairs" if recipe.training_data == "pairs" else "labelled images"
    if num_pairs < MIN_PAIRS_PER_CLASS * num_classes:
        warnings.append(
            f"{num_pairs} clean {what} for {num_classes} classes are fewer than {MIN_PAIRS_PER_CLASS} "
            f"a class: expect clean accuracy to fall. Give more {what}."
        )
    if num_steps < MIN_STEPS:
        warnings.append(
            f"The recipe makes {num_steps} updates, fewer than {MIN_STEPS}: too few for a low learning rate "
            f"to act. Give more {what} or more epochs."
        )
    if not isinstance(recipe, PARRecipe) and recipe.warmup_steps >= num_steps:
        warnings.append(
            f"The warm-up of {recipe.warmup_steps} steps does not end within the {num_steps} of the run, "
            "so the learning rate never reaches its full value."
        )
    if not recipe.freeze_batch_norm_statistics:
        warnings.append("BatchNorm statistics follow the images trained on, which can cost clean accuracy.")
    match recipe:
        case CleanCLIPRecipe():
            warnings += _cleanclip_warnings(recipe)
        case PARRecipe():
            warnings += _par_warnings(recipe)
    return warnings


def _cleanclip_warnings(recipe: CleanCLIPRecipe) -> list[str]:
    warnings = []
    if recipe.lambda2 == 0:
        warnings.append(
            "lambda2 is 0: without the self-supervised terms fine-tuning often leaves the backdoor in place."
        )
    if recipe.lambda1 == 0:
        warnings.append("lambda1 is 0: without CLIP's own loss clean accuracy is usually lost.")
    return warnings


def _par_warnings(recipe: PARRecipe) -> list[str]:
    if recipe.threshold == 0:
        return [
            "threshold is 0: nothing pushes the model away from what came in, so this is fine-tuning by "
            "CLIP's own loss, which often leaves the backdoor in place."
        ]
    if recipe.push_share == 0 or recipe.initial_learning_rate <= recipe.learning_rate:
        return [
            "The learning rate does not come down to learning_rate from a higher one: PAR moves away from "
            "the model that came in by large steps first. Raise initial_learning_rate, or push_share from 0."
        ]
    return []


def training_warnings(recipe: Recipe, training: Training) -> list[str]:
    """Sentences on how the training went."""
    if not isinstance(recipe, PARRecipe):
        return []
    warnings = []
    for side, name in (("image", "distance_image"), ("caption", "distance_text")):
        farthest = max((getattr(point, name) or 0.0 for point in training.curve), default=0.0)
        if farthest <= recipe.threshold:
            warnings.append(
                f"The {side} embeddings moved to a distance of {farthest:.2f} from the model that came in, "
                f"and never over the threshold of {recipe.threshold:g}: they were pushed to the last update. "
                "Raise initial_learning_rate or push_share, or lower the threshold."
            )
    return warnings


def probe_warnings(*audits: AuditFigures) -> list[str]:
    """One sentence if a linear probe did not converge, else none."""
    if all(audit.linear_probe is None or audit.linear_probe.is_converged for audit in audits):
        return []
    return ["The linear probe did not converge: its figures may still move. Raise its max_iterations."]


def skipped_warning(kind: str, num_skipped: int, num_samples: int) -> list[str]:
    """One sentence if any sample was left out, else none."""
    if num_skipped == 0:
        return []
    return [f"{num_skipped} of {num_samples} {kind} samples were bad and left out."]
