"""Searches cleaned weights for patterns that control them, as a scan searches those that came in.

Inverts the families of `cleanclip.spec.control` from noise, whatever was found or trained against before.
"""

from __future__ import annotations

from contextlib import suppress

import torch

from cleanclip.spec import scan_cost
from cleanclip.spec.control import SEARCHES, ControlFigures
from cleanclip.spec.errors import CheckpointRejected, DatasetRejected, OptionsRejected
from cleanclip.spec.progress import COLLAPSE, Progress, Stop
from cleanclip.spec.recipe import AuditOptions
from cleanclip.spec.scan_options import ScanOptions
from sanitizer.checkpoints.model import LoadedCheckpoint
from sanitizer.data.labelled import LabelledDataset, templates_of
from sanitizer.scans import collapse, opening
from sanitizer.scans.control import strongest_of_families
from sanitizer.scans.meter import Meter


def search(
    checkpoint: LoadedCheckpoint,
    labelled: LabelledDataset,
    audit: AuditOptions,
    *,
    seed: int,
    device: torch.device,
    progress: Progress,
    stop: Stop,
) -> ControlFigures | None:
    """The strongest patterns that were found on images drawn by `seed`.

    None where the images or the classes are too few to search with, or the model gives all one embedding.
    Raises Interrupted.
    """
    with suppress(CheckpointRejected, DatasetRejected, OptionsRejected):
        options = ScanOptions(precision=audit.precision)
        names = opening.class_names_of(labelled, options)
        images = opening.draw_images(labelled, checkpoint.architecture.image_size, options, seed)
        meter = Meter(0, progress, stop, phase="final_audit")
        with opening.scanning(
            checkpoint,
            images,
            options,
            class_names=names,
            templates=templates_of(audit, labelled),
            seed=seed,
            device=device,
            meter=meter,
        ) as subject:
            num_held_out = len(subject.held_NCHW)
            meter.plan(scan_cost.thirds_of_searches(SEARCHES, num_held_out))
            _ = subject.clean_embeddings
            found = []
            for one in SEARCHES:
                for family in one.families:
                    meter.begin(COLLAPSE(family=family.name))
                    found.append(collapse.detect(subject, family, one, spreads=True).figures)
            families = strongest_of_families(subject, found, names)
        return ControlFigures(
            seed=seed,
            num_inverted_on=len(images.image_MCHW),
            num_held_out=num_held_out,
            searches=SEARCHES,
            families=families,
        )
    return None
