"""The detectors as the zoo runs them: our own and the published ones, on the same images of the same model.

A detector gives statistics, all the larger the more suspicious, and the classes that it suspects. The budget
of each is small and written in its options: a zoo of hundreds of models is scanned on two cores.
"""

from __future__ import annotations

import ast
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from cleanclip.spec.null_set import names_sha256
from cleanclip.spec.scan_options import Detector, ScanOptions
from lab.testbed import glyphs as glyph_sets
from lab.testbed.pictures import class_names, compose
from lab.zoo.baselines import decree, ease, mm_bd, neural_cleanse
from lab.zoo.plan import Model
from lab.zoo.rows import EaseStatistics, FoundPattern, ScanRow
from lab.zoo.studying import found_patterns
from sanitizer.audits.zero_shot import class_embeddings
from sanitizer.checkpoints.model import LoadedCheckpoint
from sanitizer.data.pixels import normalise
from sanitizer.perturbations.ascent import Embed
from sanitizer.scans.meter import Meter
from sanitizer.scans.statistics import Measured, measure
from sanitizer.scans.subject import Anchor, Subject, embedded
from sanitizer.training.inverting import embedder

NUM_IMAGES, NUM_HELD_OUT = 256, 192
IMAGES_SEED = 7_002
"""Of the auditor's images, of the part "validation": the same for every model of a dataset."""
SCAN_SEED = 1
NUM_TARGETS = 5
_AT_ONCE = 256
_CPU = torch.device("cpu")
_ROOT = Path(__file__).resolve().parents[2]
_FROZEN = (
    "cleanclip/spec/conformal.py",
    "cleanclip/spec/image_edits.py",
    "cleanclip/spec/scan_judging.py",
    "cleanclip/spec/scan_options.py",
    "lab/zoo/judging.py",
    "lab/zoo/scanning.py",
    "sanitizer/scans/naming.py",
    "sanitizer/scans/word_texts.py",
)
_DECIDE_NO_FIGURE = {"meter.py", "parts.py"}
"""Of `sanitizer.scans`: progress, and what a resumed scan keeps."""
_PACKAGES = ("lab.zoo.baselines", "sanitizer.perturbations", "sanitizer.scans")

SCAN = ScanOptions(vocabulary=False)
"""As a customer gets it."""
DECREE = decree.DecreeOptions(num_steps=100, restarts=2)
MM_BD = mm_bd.MarginOptions()
NEURAL_CLEANSE = neural_cleanse.NeuralCleanseOptions()
EASE = ease.EaseOptions()


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
OPTIONAL = tuple(one for one in ("ease", "residual") if one not in DETECTORS)
"""They cost more, or need an anchor, and run where they are asked for by name."""


def needs_anchor(detector: str) -> bool:
    """Whether it looks at a model beside the anchor of the bed."""
    return detector == "residual"


def subject_of(checkpoint: LoadedCheckpoint, model: Model, anchor: LoadedCheckpoint | None = None) -> Subject:
    """The model with the auditor's images. Raises GlyphsMissing."""
    glyphs = glyph_sets.load(model.options.glyphs)
    images = compose(glyphs, "validation", NUM_IMAGES + NUM_HELD_OUT, seed=IMAGES_SEED)
    class_CD = class_embeddings(checkpoint, class_names(glyphs), glyphs.zero_shot_templates, _CPU)
    image_MCHW, held_NCHW = images.image_NCHW[:NUM_IMAGES], images.image_NCHW[NUM_IMAGES:]
    meter, known = Meter(), None
    if anchor is not None:
        embed = _embedder(anchor)
        known = Anchor(
            embed=embed,
            image_MG=embedded(embed, image_MCHW, _AT_ONCE, meter),
            held_NG=embedded(embed, held_NCHW, _AT_ONCE, meter),
        )
    return Subject(
        embed=_embedder(checkpoint),
        image_MCHW=image_MCHW,
        held_NCHW=held_NCHW,
        class_CD=class_CD.detach().clone().float(),
        label_N=tuple(images.label_N[NUM_IMAGES:].tolist()),
        seed=SCAN_SEED,
        at_once=_AT_ONCE,
        meter=meter,
        anchor=known,
    )


def _embedder(checkpoint: LoadedCheckpoint) -> Embed:
    checkpoint.model.eval().requires_grad_(False)
    architecture = checkpoint.architecture
    return embedder(
        checkpoint.model,
        lambda pixels: normalise(pixels, architecture.image_mean, architecture.image_std),
        torch.float32,
    )


def scan(
    checkpoint: LoadedCheckpoint,
    model: Model,
    detector: str,
    anchor: LoadedCheckpoint | None = None,
    *,
    look_at: Callable[[Subject], Look] | None = None,
) -> ScanRow:
    """One detector's look at one model. `look_at` is that of a detector which `BASELINES` does not have.

    Raises CheckpointRejected for a model that cannot be scanned.
    """
    started, cpu_started = time.monotonic(), time.process_time()
    subject = subject_of(checkpoint, model, anchor)
    _ = subject.clean_embeddings
    names = class_names(glyph_sets.load(model.options.glyphs))
    look, measured = None, None
    # The images have no file: what they are made from stands for them.
    images = hashlib.sha256(f"{model.options.glyphs}, seed {IMAGES_SEED}".encode()).hexdigest()
    found: tuple[FoundPattern, ...] = ()
    look_at = look_at or BASELINES.get(detector)
    if look_at is not None:
        look = look_at(subject)
        options = look.options
    elif detector == "ease":
        options = asdict(EASE)
        measured = _eased(subject, checkpoint.weights_sha256, images, names)
    else:
        ordered = replace(SCAN, detectors=(cast(Detector, detector),))
        options = asdict(ordered)
        measured = measure(
            subject,
            ordered,
            weights_sha256=checkpoint.weights_sha256,
            images_sha256=images,
            class_names=names,
            anchor_sha256=None if anchor is None else anchor.weights_sha256,
        )
    num_passes, cpu_s = subject.meter.num_passes, time.process_time() - cpu_started
    wall_s = time.monotonic() - started
    if measured is not None and detector == "collapse" and not model.is_clean:
        found = found_patterns(measured.found, subject, checkpoint, names, model.targets)
    return ScanRow(
        name=model.name,
        split=model.split,
        bed=model.bed,
        detector=detector,
        weights_sha256=checkpoint.weights_sha256,
        statistics=look.statistics if look else {},
        targets=tuple(names[number] for number in look.suspects[:NUM_TARGETS]) if look else (),
        measured=None if measured is None else measured.statistics,
        options=json.loads(json.dumps(options)),
        details=json.loads(json.dumps(look.details)) if look else {},
        found=found,
        num_passes=num_passes,
        cpu_s=round(cpu_s, 1),
        wall_s=round(wall_s, 1),
        made_with={"torch": torch.__version__, "detectors_sha256": detectors_sha256()},
    )


def _eased(subject: Subject, weights: str, images: str, names: Sequence[str]) -> Measured:
    started, before = time.monotonic(), subject.meter.num_passes
    figures = tuple(ease.detect(subject, family, EASE) for family in EASE.families)
    statistics = EaseStatistics(
        weights_sha256=weights,
        class_names_sha256=names_sha256(names),
        images_sha256=images,
        seed=subject.seed,
        num_passes=subject.meter.num_passes - before,
        wall_s=time.monotonic() - started,
        ease=figures,
    )
    return Measured(statistics=statistics, found=())


def detectors_sha256() -> str:
    """Over the code that statistics, words and p-values come from, and this file, which holds the budgets.
    Code that shows them does not count."""
    digest = hashlib.sha256()
    for path in sorted(judging_sources()):
        digest.update(path.relative_to(_ROOT).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def judging_sources() -> set[Path]:
    """`_FROZEN` and all modules of `_PACKAGES` that they import, directly or through others."""
    found: set[Path] = set()
    waiting = [_ROOT / one for one in _FROZEN]
    while waiting:
        path = waiting.pop()
        if path in found or path.name in _DECIDE_NO_FIGURE:
            continue
        found.add(path)
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(_PACKAGES):
                module = _ROOT / node.module.replace(".", "/")
                named = [module / one.name for one in node.names]
                waiting += [file for one in (module, *named) if (file := one.with_suffix(".py")).is_file()]
    return found


def _largest(score_C: Tensor) -> list[int]:
    """Class numbers, the largest score first, the first class among equals."""
    return [int(number) for number in score_C.argsort(descending=True, stable=True)[:NUM_TARGETS]]
