"""The scan's detectors as the zoo runs them, one at a time, on the same images of every model of a bed."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

import sanitizer.perturbations
import sanitizer.scans
from cleanclip.spec.scan_options import Detector, ScanOptions
from lab.reproduction.measuring import sources_sha256
from lab.testbed import glyphs as glyph_sets
from lab.testbed.pictures import IMAGE_SIZE, class_names, compose
from lab.zoo.plan import Model
from lab.zoo.rows import ScanRow
from sanitizer.audits.zero_shot import class_embeddings
from sanitizer.checkpoints.model import LoadedCheckpoint
from sanitizer.data import public_images
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

SCAN = ScanOptions(vocabulary=False)
"""As a customer gets it."""


def needs_anchor(detector: Detector) -> bool:
    """Whether it looks at a model beside the anchor of the bed."""
    return detector == "residual"


@dataclass(frozen=True, kw_only=True)
class Images:
    """What a scan looks with: images, the classes that they have, and the names of all classes."""

    image_NCHW: Tensor
    label_N: tuple[int, ...]
    class_names: tuple[str, ...]
    about: str
    """They have no file: what they are made from stands for them."""


def own_images(model: Model) -> Images:
    """Of the kind that the model was trained on. Raises GlyphsMissing."""
    glyphs = glyph_sets.load(model.options.glyphs)
    made = compose(glyphs, "validation", NUM_IMAGES + NUM_HELD_OUT, seed=IMAGES_SEED)
    about = f"{model.options.glyphs}, seed {IMAGES_SEED}"
    labels = tuple(made.label_N.tolist())
    return Images(image_NCHW=made.image_NCHW, label_N=labels, class_names=class_names(glyphs), about=about)


def shared_images(_: Model) -> Images:
    """The public set, at the model's size: of classes that no model of the zoo knows."""
    num, size = NUM_IMAGES + NUM_HELD_OUT, IMAGE_SIZE
    made = list(public_images.made(num, size=size, seed=public_images.SEED))
    return Images(
        image_NCHW=torch.stack([torch.from_numpy(image).permute(2, 0, 1) for image, _ in made]),
        label_N=tuple(label for _, label in made),
        class_names=public_images.CLASS_NAMES,
        about=f"public, {size} px, seed {public_images.SEED}",
    )


def subject_of(
    checkpoint: LoadedCheckpoint, model: Model, images: Images, anchor: LoadedCheckpoint | None = None
) -> Subject:
    """The model with the auditor's images. Raises GlyphsMissing."""
    cpu, templates = torch.device("cpu"), glyph_sets.load(model.options.glyphs).zero_shot_templates
    class_CD = class_embeddings(checkpoint, images.class_names, templates, cpu)
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
        label_N=images.label_N[NUM_IMAGES:],
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
    detector: Detector,
    anchor: LoadedCheckpoint | None = None,
    *,
    images_of: Callable[[Model], Images] = own_images,
) -> ScanRow:
    """One detector's look at one model. Raises CheckpointRejected for a model that cannot be scanned."""
    started, cpu_started = time.monotonic(), time.process_time()
    images = images_of(model)
    subject = subject_of(checkpoint, model, images, anchor)
    ordered = replace(SCAN, detectors=(detector,))
    measured = measure(
        subject,
        ordered,
        weights_sha256=checkpoint.weights_sha256,
        images_sha256=hashlib.sha256(images.about.encode()).hexdigest(),
        class_names=images.class_names,
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
        made_with={"torch": torch.__version__, "code_sha256": code_sha256()},
    )


def code_sha256() -> str:
    """Of what the detectors are made of: tells looks by other code apart."""
    packages = (sanitizer.perturbations, sanitizer.scans)
    return sources_sha256(*(Path(package.__file__ or "").parent for package in packages))
