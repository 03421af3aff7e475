"""The detectors as the zoo runs them: our own and the published ones, on the same images of the same model.

A detector gives statistics, all the larger the more suspicious, and the classes that it suspects. The budget
of each is small and written in its options: a zoo of hundreds of models is scanned on two cores.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

import cleanclip.spec.scan_options
import lab.zoo.baselines
import sanitizer.perturbations
import sanitizer.scans
from cleanclip.spec.scan_options import Detector, ScanOptions
from lab.reproduction.measuring import sources_sha256
from lab.testbed import glyphs as glyph_sets
from lab.testbed.pictures import class_names, compose
from lab.zoo.baselines import decree, mm_bd, neural_cleanse
from lab.zoo.plan import Model
from lab.zoo.rows import ScanRow
from sanitizer.audits.zero_shot import class_embeddings
from sanitizer.checkpoints.model import LoadedCheckpoint
from sanitizer.data.pixels import normalise
from sanitizer.scans.statistics import measure
from sanitizer.scans.subject import Subject
from sanitizer.training.inverting import embedder

NUM_IMAGES, NUM_HELD_OUT = 256, 192
IMAGES_SEED = 7_002
"""Of the auditor's images, of the part "validation": the same for every model of a dataset."""
SCAN_SEED = 1
NUM_TARGETS = 5
_CPU = torch.device("cpu")

SCAN = ScanOptions(vocabulary=False)
"""As a customer gets it."""
DECREE = decree.DecreeOptions(num_steps=100, restarts=2)
MM_BD = mm_bd.MarginOptions()
NEURAL_CLEANSE = neural_cleanse.NeuralCleanseOptions()


@dataclass(frozen=True, kw_only=True)
class Look:
    """What a published detector saw; `suspects` are class numbers, the most suspicious first."""

    statistics: dict[str, float]
    suspects: Sequence[int]
    options: dict[str, Any]
    details: dict[str, Any] = field(default_factory=dict)


def _decree(subject: Subject) -> Look:
    found = decree.invert(subject, DECREE)
    sent_C = decree.sent_to(subject, found.mask)
    return Look(
        statistics={"1 - PL1": 1 - found.size},
        suspects=_largest(sent_C.double()),
        options=asdict(DECREE),
        details={"most_sent": int(sent_C.max())},
    )


def _mm_bd(subject: Subject) -> Look:
    margin_C = mm_bd.margins(subject, MM_BD)
    return Look(
        statistics={"-log10 p": -mm_bd.log10_p(margin_C), "largest margin": float(margin_C.max())},
        suspects=_largest(margin_C.double()),
        options=asdict(MM_BD),
    )


def _neural_cleanse(subject: Subject) -> Look:
    size_C = neural_cleanse.sizes(subject, NEURAL_CLEANSE)
    index_C = neural_cleanse.anomaly_indices(size_C)
    return Look(
        statistics={"anomaly index": float(index_C.max()), "1 - smallest mask": 1 - float(size_C.min())},
        suspects=_largest(-size_C.double()),
        options=asdict(NEURAL_CLEANSE),
    )


BASELINES: dict[str, Callable[[Subject], Look]] = {
    "decree": _decree,
    "mm_bd": _mm_bd,
    "neural_cleanse": _neural_cleanse,
}
DETECTORS = (*SCAN.detectors, *BASELINES)


def subject_of(checkpoint: LoadedCheckpoint, model: Model) -> Subject:
    """The model with the auditor's images. Raises GlyphsMissing."""
    glyphs = glyph_sets.load(model.options.glyphs)
    images = compose(glyphs, "validation", NUM_IMAGES + NUM_HELD_OUT, seed=IMAGES_SEED)
    class_CD = class_embeddings(checkpoint, class_names(glyphs), glyphs.zero_shot_templates, _CPU)
    checkpoint.model.eval().requires_grad_(False)
    architecture = checkpoint.architecture
    return Subject(
        embed=embedder(
            checkpoint.model,
            lambda pixels: normalise(pixels, architecture.image_mean, architecture.image_std),
            torch.float32,
        ),
        image_MCHW=images.image_NCHW[:NUM_IMAGES],
        held_NCHW=images.image_NCHW[NUM_IMAGES:],
        class_CD=class_CD.detach().clone().float(),
        label_N=tuple(images.label_N[NUM_IMAGES:].tolist()),
        seed=SCAN_SEED,
    )


def scan(checkpoint: LoadedCheckpoint, model: Model, detector: str) -> ScanRow:
    """One detector's look at one model. Raises CheckpointRejected for a model that cannot be scanned."""
    started, cpu_started = time.monotonic(), time.process_time()
    subject = subject_of(checkpoint, model)
    _ = subject.clean_embeddings
    names = class_names(glyph_sets.load(model.options.glyphs))
    look, measured = None, None
    if detector in BASELINES:
        look = BASELINES[detector](subject)
        options = look.options
    else:
        ordered = replace(SCAN, detectors=(cast(Detector, detector),))
        options = asdict(ordered)
        measured = measure(
            subject,
            ordered,
            weights_sha256=checkpoint.weights_sha256,
            images_sha256=f"{model.options.glyphs}, seed {IMAGES_SEED}",
            class_names=names,
        ).statistics
    return ScanRow(
        name=model.name,
        split=model.split,
        bed=model.bed,
        detector=detector,
        weights_sha256=checkpoint.weights_sha256,
        statistics=look.statistics if look else {},
        targets=tuple(names[number] for number in look.suspects[:NUM_TARGETS]) if look else (),
        measured=measured,
        options=json.loads(json.dumps(options)),
        details=json.loads(json.dumps(look.details)) if look else {},
        num_passes=subject.meter.num_passes,
        cpu_s=round(time.process_time() - cpu_started, 1),
        wall_s=round(time.monotonic() - started, 1),
        made_with={"torch": torch.__version__, "detectors_sha256": detectors_sha256()},
    )


def detectors_sha256() -> str:
    """Over the code that the statistics come from, and this file, which holds the budgets."""
    folders = [
        Path(package.__file__ or "").parent
        for package in (lab.zoo.baselines, sanitizer.perturbations, sanitizer.scans)
    ]
    digest = hashlib.sha256(sources_sha256(*folders).encode())
    for file in (cleanclip.spec.scan_options.__file__, __file__):
        digest.update(Path(file).read_bytes())
    return digest.hexdigest()


def _largest(score_C: Tensor) -> list[int]:
    """Class numbers, the largest score first, the first class among equals."""
    return [int(number) for number in score_C.argsort(descending=True, stable=True)[:NUM_TARGETS]]
