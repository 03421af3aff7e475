"""Searches cleaned weights for patterns that control them, as a scan searches those that came in.

Inverts the families of `vocabulary.control` from noise, whatever was found or trained against before.
"""

from typing import get_args

import torch

from cleanclip.vocabulary import scan_cost
from cleanclip.vocabulary.control import SEARCHES, ControlFigures, NotSearched, NotSearchedCode, Search
from cleanclip.vocabulary.errors import SanitizerError
from cleanclip.vocabulary.progress import COLLAPSE
from cleanclip.vocabulary.recipe import AuditOptions
from cleanclip.vocabulary.scan_options import ScanOptions
from sanitizer.checkpoints.model import LoadedCheckpoint
from sanitizer.data.labelled import LabelledDataset, templates_of
from sanitizer.run import Run
from sanitizer.scans import collapse, opening
from sanitizer.scans.control import strongest_of_families
from sanitizer.scans.meter import Meter


def search(
    checkpoint: LoadedCheckpoint, labelled: LabelledDataset, audit: AuditOptions, run: Run, *, seed: int
) -> Search:
    """The strongest patterns that were found on images drawn by `seed`, or why they cannot be searched for.

    Raises Interrupted; DatasetRejected for images that cannot be read.
    """
    meter = Meter(0, run.progress, run.stop, phase="final_audit")
    try:
        return _search(checkpoint, labelled, audit, seed=seed, device=run.device, meter=meter)
    except SanitizerError as refusal:
        if refusal.code not in get_args(NotSearchedCode):
            raise
        return NotSearched(not_searched=refusal.code)  # type: ignore[arg-type]  # one of its values


def _search(
    checkpoint: LoadedCheckpoint,
    labelled: LabelledDataset,
    audit: AuditOptions,
    *,
    seed: int,
    device: torch.device,
    meter: Meter,
) -> ControlFigures:
    options = ScanOptions(precision=audit.precision, images_at_once=max(2, audit.batch_size))
    names = opening.class_names_of(labelled, options)
    images = opening.draw_images(labelled, checkpoint.architecture.image_size, options, seed)
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
