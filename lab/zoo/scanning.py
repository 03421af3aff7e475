"""The scan's detectors as the zoo runs them, one at a time, on the same images of every model of a bed."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict, replace
from pathlib import Path

import torch

import sanitizer.perturbations
import sanitizer.scans
from cleanclip.vocabulary.scan_options import Detector, ScanOptions
from lab.reproduction.measuring import sources_sha256
from lab.testbed import glyphs as glyph_sets
from lab.testbed.glyphs import Glyphs
from lab.testbed.pictures import class_names, compose
from lab.zoo.plan import Model
from lab.zoo.rows import ScanRow
from sanitizer.audits.zero_shot import class_embeddings
from sanitizer.checkpoints.model import LoadedCheckpoint
from sanitizer.data.pixels import normalise
from sanitizer.perturbations.ascent import Embed
from sanitizer.scans.meter import Meter
from sanitizer.scans.statistics import measure
from sanitizer.scans.subject import Anchor, Subject, embedded
from sanitizer.training.inverting import embedder

NUM_IMAGES, NUM_HELD_OUT = 256, 192
IMAGES_SEED = 7_002
"""Of the auditor's images, of the part "validation": the same for every model of a dataset."""
SCAN_SEED = 1
_AT_ONCE = 256
_CODE = [Path(package.__file__ or "").parent for package in (sanitizer.perturbations, sanitizer.scans)]
"""What the detectors are made of: tells looks by other code apart."""

SCAN = ScanOptions(vocabulary=False)
"""As a customer gets it."""


def needs_anchor(detector: Detector) -> bool:
    """Whether it looks at a model beside the anchor of the bed."""
    return detector == "residual"


def subject_of(checkpoint: LoadedCheckpoint, glyphs: Glyphs, anchor: LoadedCheckpoint | None) -> Subject:
    """The model with the auditor's images, which are of the kind that it was trained on."""
    images = compose(glyphs, "validation", NUM_IMAGES + NUM_HELD_OUT, seed=IMAGES_SEED)
    cpu, templates = torch.device("cpu"), glyphs.zero_shot_templates
    class_CD = class_embeddings(checkpoint, class_names(glyphs), templates, cpu)
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
    checkpoint: LoadedCheckpoint, model: Model, detector: Detector, anchor: LoadedCheckpoint | None = None
) -> ScanRow:
    """One detector's look at one model. Raises CheckpointRejected for a model that cannot be scanned;
    GlyphsMissing. The images have no file: what they are made from stands for them."""
    started, cpu_started = time.monotonic(), time.process_time()
    glyphs = glyph_sets.load(model.options.glyphs)
    subject = subject_of(checkpoint, glyphs, anchor)
    about = f"{model.options.glyphs}, seed {IMAGES_SEED}"
    ordered = replace(SCAN, detectors=(detector,))
    measured = measure(
        subject,
        ordered,
        weights_sha256=checkpoint.weights_sha256,
        images_sha256=hashlib.sha256(about.encode()).hexdigest(),
        class_names=class_names(glyphs),
        anchor_sha256=None if anchor is None else anchor.weights_sha256,
    )
    return ScanRow(
        name=model.name,
        split=model.split,
        bed=model.bed,
        detector=detector,
        weights_sha256=checkpoint.weights_sha256,
        measured=measured.statistics,
        options=json.loads(json.dumps(asdict(ordered))),
        num_passes=subject.meter.num_passes,
        cpu_s=round(time.process_time() - cpu_started, 1),
        wall_s=round(time.monotonic() - started, 1),
        made_with={"torch": torch.__version__, "code_sha256": sources_sha256(*_CODE)},
    )
