"""Reads a whole dataset once and says what it holds."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

from cleanclip.vocabulary.errors import Interrupted
from cleanclip.vocabulary.jobspec import DatasetSummary
from cleanclip.vocabulary.progress import Advanced, PhaseFinished, PhaseStarted, Progress, ignore
from sanitizer.data.draw import SampleDraw
from sanitizer.data.labelled import Labelled, LabelledDataset, open_labelled
from sanitizer.data.pairs import PairDataset, open_pairs, refuse_equal_captions
from sanitizer.data.skipping import BadSample, SkipLedger, Skipped

REPORT_EVERY_S = 0.5


def summarise(
    path: Path,
    kind: Literal["pairs", "labelled"],
    max_skipped_share: float,
    progress: Progress = ignore,
    stop: Callable[[], bool] = lambda: False,
    *,
    draw: SampleDraw | None = None,
) -> DatasetSummary:
    """Decode every sample once and count. `num_samples` are the good ones, which `draw` is offered, and
    `num_skipped` the bad ones.

    Raises DatasetRejected as soon as the bad ones pass `max_skipped_share` of all, or if none is good;
    Interrupted when `stop()` says so.
    """
    dataset: PairDataset | LabelledDataset = open_pairs(path) if kind == "pairs" else open_labelled(path)
    ledger = SkipLedger(len(dataset), max_skipped_share)
    progress(PhaseStarted(phase="validate", total=len(dataset), unit="samples"))
    per_label = _read_all(dataset, ledger, progress, stop, draw)
    if ledger.num_skipped == len(dataset):
        raise ledger.rejection()
    if isinstance(dataset, PairDataset):
        refuse_equal_captions(dataset)
    summary = DatasetSummary(
        kind=kind,
        sha256=dataset.sha256,
        num_shards=dataset.num_shards,
        num_samples=len(dataset) - ledger.num_skipped,
        num_skipped=ledger.num_skipped,
        skipped_reasons=ledger.reasons,
        skipped_examples=ledger.examples,
    )
    if isinstance(dataset, LabelledDataset):
        summary = replace(
            summary,
            class_names=dataset.class_names,
            templates=dataset.templates,
            images_per_class=tuple(per_label[label] for label in range(len(dataset.class_names))),
        )
    progress(PhaseFinished(phase="validate"))
    return summary


def _read_all(
    dataset: PairDataset | LabelledDataset,
    ledger: SkipLedger,
    progress: Progress,
    stop: Callable[[], bool],
    draw: SampleDraw | None,
) -> Counter[int]:
    """Read and decode each sample; returns how many images each label has (empty for pairs)."""
    per_label: Counter[int] = Counter()
    started_s = reported_s = time.monotonic()
    for index in range(len(dataset)):
        if stop():
            raise Interrupted(
                "stopped",
                "Reading the dataset was stopped.",
                "Run it again; it starts from the first sample.",
            )
        try:
            sample = dataset.read(index)
        except BadSample as bad:
            ledger.add(Skipped.of(index, dataset.key(index), bad))
        else:
            if isinstance(sample, Labelled):
                per_label[sample.label] += 1
            if draw is not None:
                draw.offer(index, sample, dataset)
        now_s = time.monotonic()
        if now_s - reported_s >= REPORT_EVERY_S or index + 1 == len(dataset):
            reported_s = now_s
            rate = (index + 1) / max(now_s - started_s, 1e-9)
            progress(
                Advanced(
                    phase="validate",
                    done=index + 1,
                    total=len(dataset),
                    rate=rate,
                    rate_unit="samples",
                    eta_s=(len(dataset) - index - 1) / rate,
                )
            )
    return per_label
