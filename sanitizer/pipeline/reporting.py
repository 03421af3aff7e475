"""Gathers what a report says beside the figures: machine, inputs, samples left out. Measures nothing."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from cleanclip.spec.recipe import AuditOptions, AuditPrecision, DeclaredOptions, parse
from cleanclip.spec.report import (
    MOST_CLASSES_LISTED,
    AuditFigures,
    CheckpointInput,
    DataInput,
    Environment,
    Estimate,
    Examples,
    ReboundFigures,
    RetrievalFigures,
    ScannerEvidence,
)
from sanitizer.audits.audit import AuditResult
from sanitizer.audits.example_images import examples_of
from sanitizer.audits.plain_template import PLAIN_TEMPLATE
from sanitizer.checkpoints.model import LoadedCheckpoint
from sanitizer.data.pairs import PairDataset
from sanitizer.data.training_data import LabelsAsCaptions
from sanitizer.pipeline.ladder_run import Climbed
from sanitizer.pipeline.opening import ForAudit
from sanitizer.software import software


def environment(device: torch.device, precision: AuditPrecision, num_processes: int = 1) -> Environment:
    """This machine and the versions that decide figures."""
    return Environment(
        **software(),
        torch=torch.__version__,
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        machine=f"{platform.system()} {platform.machine()}, {_processor()}, {os.cpu_count()} cores",
        num_threads=torch.get_num_threads(),
        precision=precision,
        num_processes=num_processes,
    )


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


def training_input(
    data: PairDataset | LabelsAsCaptions, num_skipped: int, skipped_examples: Sequence[str]
) -> DataInput:
    """What the model was trained on. `num_samples` counts all, the skipped included."""
    labelled = data.labelled if isinstance(data, LabelsAsCaptions) else None
    return DataInput(
        kind="pairs" if labelled is None else "training",
        num_classes=None if labelled is None else len(labelled.class_names),
        sha256=data.files_sha256,
        num_samples=len(data),
        num_skipped=num_skipped,
        skipped_examples=tuple(skipped_examples),
        excluded=data.excluded,
    )


def measured_inputs(
    given: ForAudit, result: AuditResult, climbed: Climbed | None = None
) -> tuple[DataInput, ...]:
    """What the model was measured on. `num_samples` counts all, the skipped included, and of a ladder the
    validation images, too."""
    num_skipped, num_samples = _of_labelled(given, result, climbed)
    labelled = DataInput(
        kind="labelled",
        sha256=given.labelled.files_sha256,
        num_samples=num_samples,
        num_skipped=num_skipped,
        num_classes=len(given.labelled.class_names),
        skipped_examples=result.skipped_examples + (climbed.skipped_examples if climbed else ()),
        excluded=given.labelled.excluded,
    )
    if given.retrieval is None or result.retrieval is None:
        return (labelled,)
    retrieval = DataInput(
        kind="retrieval",
        sha256=given.retrieval.files_sha256,
        num_samples=len(given.retrieval),
        num_skipped=result.retrieval.num_skipped,
        skipped_examples=result.retrieval.skipped_examples,
        excluded=given.retrieval.excluded,
    )
    return labelled, retrieval


def template_warnings(result: AuditResult) -> list[str]:
    """That nobody gave templates, and what one plain template gives; else none."""
    plain, used = result.plain_template_ca, result.figures.ca
    if plain is None:
        return []
    return [
        "Neither the order nor the labelled set gives templates, so ImageNet's 80 were used: clean accuracy "
        f"is {_interval(used)}. With '{PLAIN_TEMPLATE}' alone it is {_interval(plain)} on the "
        f"same {plain.n:,} images. Give the templates that fit your images as audit.templates."
    ]


def _interval(share: Estimate) -> str:
    low, high = 100 * share.low, 100 * share.high
    return f"{100 * share.value:.1f} % (95 % interval {low:.1f} to {high:.1f} %)"


def probe_warnings(*audits: AuditFigures) -> list[str]:
    """One sentence if a linear probe did not converge, else none."""
    if all(audit.linear_probe is None or audit.linear_probe.is_converged for audit in audits):
        return []
    return ["The linear probe did not converge: its figures may still change. Raise its max_iterations."]


def rebound_warnings(rebound: ReboundFigures | None) -> list[str]:
    """At which rates a copy's training diverged, or destroyed the model; else none."""
    warnings = []
    for curve in rebound.curves if rebound else ():
        trained = f"Trained further at {curve.rate:g} times the cleaning's learning rate, the copy"
        if curve.diverged_at is not None:
            warnings.append(
                f"{trained}'s loss diverged at update {curve.diverged_at}: nothing was measured after that."
            )
        worst = min(curve.points, key=lambda point: point.ca.value)
        if worst.ca.value < curve.points[0].ca.value / 2:
            warnings.append(
                f"{trained} lost more than half of its clean accuracy ({100 * worst.ca.value:.1f} % after "
                f"{worst.step} updates): its attack success rates say little. Give lower rates."
            )
    return warnings


def examples(given: ForAudit, options: AuditOptions, seed: int, *audits: AuditResult) -> Examples | None:
    """Of the audit, or of those before and after, with the last one's images. None where not ordered."""
    if options.examples == 0:
        return None
    before, *after = (audit.examples for audit in audits)
    return examples_of(seed, given.checkpoint.architecture.image_size, before, after[0] if after else None)


def _of_labelled(given: ForAudit, result: AuditResult, climbed: Climbed | None) -> tuple[int, int]:
    """How many of the labelled images were bad, and how many there are, those for validation included."""
    if climbed is None:
        return result.num_skipped, len(given.labelled)
    num_skipped = result.num_skipped + climbed.num_skipped
    return num_skipped, len(given.labelled) + climbed.figures.num_validation + climbed.num_skipped


def ladder_warnings(climbed: Climbed | None) -> list[str]:
    """That the choice does not meet what it was to meet, and why rungs were not trained to their end."""
    if climbed is None:
        return []
    choice, rungs = climbed.figures.choice, climbed.figures.rungs
    warnings = [f"Rung {one.name} diverged: {one.detail}" for one in rungs if one.end == "diverged"]
    warnings += [
        f"Rung {one.name} was not begun: at the pace of an earlier rung of its method, the budget of device "
        "minutes ends before its first look."
        for one in rungs
        if one.end == "does_not_fit"
    ]
    if any(one.end == "budget" for one in rungs):
        warnings.append("The budget of device minutes ended before the ladder did.")
    return warnings if choice.meets_policy and choice.meets_unknown else [*warnings, choice.reason]


def audit_warnings(given: ForAudit, result: AuditResult, climbed: Climbed | None = None) -> tuple[str, ...]:
    """Sentences on what the audit left out."""
    warnings = skipped_warning("labelled", *_of_labelled(given, result, climbed))
    num_classes = len(set(result.label_N.tolist()))
    if num_classes > MOST_CLASSES_LISTED:
        reason = f"more than the {MOST_CLASSES_LISTED} whose accuracy a report lists one by one"
        warnings.append(f"The labelled set has images of {num_classes} classes, {reason}.")
    if given.retrieval is not None and result.retrieval is not None:
        warnings += skipped_warning("retrieval", result.retrieval.num_skipped, len(given.retrieval))
        warnings += _not_shown(result.retrieval.figures)
    return tuple(warnings)


def _not_shown(figures: RetrievalFigures) -> Iterator[str]:
    for one in figures.targets:
        if one.untriggered is not None:
            continue
        if one.num_naming == 0:
            why = f"No caption of the retrieval set names '{one.target}'"
        elif one.num_images == 0:
            why = f"Every image of the retrieval set has a caption that names '{one.target}'"
        else:
            why = f"The retrieval set has only {figures.num_captions} different captions"
        yield f"{why}, so it could not be measured how often a trigger retrieves one that does."


_SAMPLE = {"pairs": "pair", "labelled": "labelled image"}
"""Of a kind of data; of another "training sample"."""


def excluded_warnings(*inputs: DataInput) -> list[str]:
    """One sentence for each dataset that an order left samples out of."""
    return [
        f"{one.excluded.num} {_SAMPLE.get(one.kind, f'{one.kind} sample')}"
        f"{' was' if one.excluded.num == 1 else 's were'} left out by a list: {one.excluded.reason}."
        for one in inputs
        if one.excluded is not None
    ]


def skipped_warning(kind: str, num_skipped: int, num_samples: int) -> list[str]:
    """One sentence if any sample was left out, else none."""
    if num_skipped == 0:
        return []
    return [f"{num_skipped} of {num_samples} {kind} samples were bad and left out."]
