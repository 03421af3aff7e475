"""Scans a checkpoint for triggers that nobody named, from files to files; and what it costs, before.

    checkpoint, labelled ─▶ detectors ─▶ statistics ─┐
                                   null set ─────────┴▶ p-value ─▶ hypotheses on held-out images ─▶ report

Parts that are finished are kept in the state folder, so a scan that is stopped continues where it was.
"""

import hashlib
import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime

import torch

from cleanclip.vocabulary import scan_judging as judging
from cleanclip.vocabulary.control import controlling
from cleanclip.vocabulary.jobspec import REPORT_NAME, ScanSpec
from cleanclip.vocabulary.measures import Estimate
from cleanclip.vocabulary.null_set import NullPattern, NullSet
from cleanclip.vocabulary.progress import STUDYING
from cleanclip.vocabulary.recipe import to_json
from cleanclip.vocabulary.report_inputs import DataInput
from cleanclip.vocabulary.scan_options import ScanOptions
from cleanclip.vocabulary.scan_report import Hypothesis, ScanReport, dump_scan
from cleanclip.vocabulary.scan_statistics import ScanStatistics
from sanitizer.audits.statistics import wilson
from sanitizer.perturbations.ascent import to_unit
from sanitizer.pipeline import reporting
from sanitizer.pipeline.places import Places
from sanitizer.pipeline.scan_opening import OpenedScan, open_for_scan, planned_thirds
from sanitizer.run import Run
from sanitizer.scans.control import strongest_of_families
from sanitizer.scans.hypotheses import Study, as_null_pattern
from sanitizer.scans.naming import Vocabulary, word_embedder
from sanitizer.scans.part_states import PartStates
from sanitizer.scans.parts import Part, Parts
from sanitizer.scans.residual import rows_of_cells
from sanitizer.scans.statistics import Found, Measured, measure
from sanitizer.scans.subject import Subject
from sanitizer.software import software

MEASURED_PASSES = 512
"""Of a plan, after as many to warm up: a second or two on a small model."""


def _nothing() -> None:
    """After a part that nobody takes away."""


@dataclass(frozen=True, kw_only=True)
class ScanPlan:
    """What a scan costs: passes of the image tower, forward and backward, and how long they take here."""

    num_passes: int
    passes_per_s: float
    device: str

    @property
    def seconds(self) -> float:
        return self.num_passes / self.passes_per_s


def scan(places: Places, spec: ScanSpec, run: Run, *, null: NullSet | None = None) -> ScanReport:
    """Look for triggers; report.json in `places.out`.

    Finished parts are kept in `places.state`. With `spec.save_every_s` they are saved there as states that a
    supervisor may take to another machine, so often and when the scan is stopped. A cleaning that begins with
    the scan gives the audit that follows: what that refuses in the model is refused before the scan.
    Raises CheckpointRejected, DatasetRejected, OptionsRejected (of an anchor those of
    `cleanclip.vocabulary.anchors`; of a null: `null_does_not_fit`, `null_holds_the_suspect`) and
    Interrupted.
    """
    with open_for_scan(places, spec, run, null=null) as opened, ExitStack() as stack:
        after_part = _nothing
        if places.state is not None and spec.save_every_s is not None:
            states = PartStates(places.state, run.progress, save_every_s=spec.save_every_s)
            stack.enter_context(states.saving_at_a_stop())
            after_part = states.part_done
        report = _report(opened, _measure(opened, _parts(opened, places, after_part)))
    places.out.mkdir(parents=True, exist_ok=True)
    (places.out / REPORT_NAME).write_bytes(dump_scan(report))
    return report


@dataclass(frozen=True, kw_only=True)
class MeasuredModel:
    """What a null holds of one model, and what it must share with the others."""

    statistics: ScanStatistics
    patterns: tuple[NullPattern, ...]
    architecture: dict[str, object]
    class_names: tuple[str, ...]


def measure_model(places: Places, spec: ScanSpec, run: Run) -> MeasuredModel:
    """What a scan measures of one model, for a null; judges nothing. Raises as `scan`."""
    with open_for_scan(places, spec, run) as opened:
        parts = _parts(opened, places)
        measured = _measure(opened, parts)
        patterns, _ = parts.once(
            "patterns",
            tuple[NullPattern, ...],
            None,
            lambda: Part(figures=_null_patterns(opened, measured), pattern_of={}),
        )
        opened.subject.meter.end()
        return MeasuredModel(
            statistics=measured.statistics,
            patterns=patterns.figures,
            architecture=opened.checkpoint.architecture.to_config(),
            class_names=opened.class_names,
        )


def plan(places: Places, spec: ScanSpec, run: Run) -> ScanPlan:
    """What `scan` would cost, from a few passes that are made here. Raises as `scan`."""
    with open_for_scan(places, spec, run) as opened:
        subject, num_passes = opened.subject, planned_thirds(opened.subject, spec.scan) // 3
        _ = subject.clean_embeddings
        at_once = min(spec.scan.images_at_once, len(subject.image_MCHW))
        _both_ways(subject, at_once)
        num, started = 0, time.monotonic()
        while num < MEASURED_PASSES:
            num += _both_ways(subject, at_once)
        rate = num / (time.monotonic() - started)
        return ScanPlan(num_passes=num_passes, passes_per_s=rate, device=opened.device.type)


def _parts(opened: OpenedScan, places: Places, after_part: Callable[[], None] = _nothing) -> Parts:
    return Parts(places.state, _key(opened), after=after_part)


def _measure(opened: OpenedScan, parts: Parts) -> Measured:
    opened.subject.meter.start()
    return measure(
        opened.subject,
        opened.spec.scan,
        weights_sha256=opened.checkpoint.weights_sha256,
        images_sha256=opened.labelled.sha256,
        class_names=opened.class_names,
        parts=parts,
        anchor_sha256=opened.anchor_sha256,
    )


def _key(opened: OpenedScan) -> str:
    """Of all that decides a figure: another key, and nothing that is kept is used."""
    decides = {
        "weights": opened.checkpoint.weights_sha256,
        "architecture": opened.checkpoint.architecture.to_config(),
        "images": opened.labelled.sha256,
        "class_names": opened.class_names,
        "options": to_json(opened.spec.scan),
        "seed": opened.subject.seed,
        "anchor": opened.anchor and [opened.anchor_sha256, opened.anchor.architecture.to_config()],
        "code": software()["code_version"],
    }
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


def _report(opened: OpenedScan, measured: Measured) -> ScanReport:
    options, null = opened.spec.scan, opened.null
    subject, class_names, images = opened.subject, opened.class_names, opened.images
    judged = judging.judge(measured.statistics, len(class_names), null, options.detectors)
    embed = word_embedder(opened.checkpoint, opened.device)
    vocabulary = Vocabulary(embed) if options.vocabulary else None
    study, studied = _studied(opened, measured, judged, vocabulary)
    of_found = {(found.detector, found.family): hypothesis for found, hypothesis in studied}
    control = strongest_of_families(subject, measured.statistics.collapse, class_names)
    ordered = judging.in_order(
        [found for found, _ in studied],
        judged,
        lambda found: of_found[found.detector, found.family].gain,
        controlling(control),
        fails=judged.fails(options),
    )
    hypotheses = tuple(
        judging.placed(of_found[one.detector, one.family], one, judged, null) for one in ordered
    )
    examples = study.examples(ordered[0], hypotheses[0], options.num_examples) if ordered else ()
    subject.meter.end()
    return ScanReport(
        created_at=datetime.now(UTC),
        seed=subject.seed,
        checkpoint=reporting.checkpoint_input(opened.checkpoint, opened.spec.upload_sha256),
        data=(
            DataInput(
                kind="labelled",
                sha256=opened.labelled.sha256,
                num_samples=len(opened.labelled),
                num_skipped=len(images.skipped),
                num_classes=len(opened.labelled.class_names),
                skipped_examples=tuple(one.example for one in images.skipped[:10]),
            ),
        ),
        options=options,
        num_classes=len(class_names),
        num_inverted_on=len(images.image_MCHW),
        num_held_out=len(images.held_NCHW),
        ca=_clean_accuracy(opened) if class_names else None,
        statistics=measured.statistics,
        control=control,
        judgements=judged.judgements,
        null=judged.null,
        hypotheses=hypotheses,
        examples=examples,
        environment=reporting.environment(opened.device, options.precision),
        conditions=opened.conditions,
        anchor=None if opened.anchor is None else reporting.checkpoint_input(opened.anchor, None),
    )


def _studied(
    opened: OpenedScan, measured: Measured, judged: judging.Judgement, vocabulary: Vocabulary | None
) -> tuple[Study, list[tuple[Found, Hypothesis]]]:
    """Of each detector and family the most conspicuous pattern, measured on the held-out images."""
    subject = opened.subject
    rows = _rows_of_cells(subject, opened.spec.scan)
    study = Study(subject, opened.images, opened.class_names, vocabulary, rows)
    studied = []
    for found in judging.worth_studying(measured.found, judged):
        subject.meter.begin(STUDYING(family=found.family.name))
        studied.append((found, study.of(found)))
    return study, studied


def _null_patterns(opened: OpenedScan, measured: Measured) -> tuple[NullPattern, ...]:
    judged = judging.judge(measured.statistics, len(opened.class_names), None, opened.spec.scan.detectors)
    _, studied = _studied(opened, measured, judged, None)
    return tuple(filter(None, (as_null_pattern(hypothesis) for _, hypothesis in studied)))


def _rows_of_cells(subject: Subject, options: ScanOptions) -> dict[int, list[int]]:
    """Held-out images by cell, where a detector looks at cells."""
    if "residual" not in options.detectors:
        return {}
    return {cell: rows.tolist() for cell, rows in rows_of_cells(subject, options.residual).items()}


def _clean_accuracy(opened: OpenedScan) -> Estimate:
    subject = opened.subject
    predicted_N = subject.classes_of(subject.clean_embeddings).tolist()
    right = sum(one == label for one, label in zip(predicted_N, opened.images.held_label, strict=True))
    return wilson(right, len(predicted_N))


def _both_ways(subject: Subject, num: int) -> int:
    """One pass of `num` images, forward and backward in their pixels."""
    pixels = to_unit(subject.image_MCHW[:num]).requires_grad_()
    with torch.enable_grad():
        torch.autograd.grad(subject.embed(pixels).sum(), pixels)
    return num
