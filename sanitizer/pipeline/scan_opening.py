"""Opens a checkpoint and a labelled set for a scan; warns of what its images lack. Runs no detector."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor

from cleanclip.vocabulary.anchors import of_options
from cleanclip.vocabulary.clip_text import as_clip_reads
from cleanclip.vocabulary.errors import CheckpointRejected
from cleanclip.vocabulary.image_edits import EditName
from cleanclip.vocabulary.jobspec import ScanSpec
from cleanclip.vocabulary.null_set import NullSet, ScanToJudge
from cleanclip.vocabulary.progress import Announced
from cleanclip.vocabulary.recipe import AuditOptions
from cleanclip.vocabulary.scan_cost import cost_thirds
from cleanclip.vocabulary.scan_options import ScanOptions
from cleanclip.vocabulary.scan_warnings import NEAR_COSINE, Conditions, repeated_names, scan_warnings
from cleanclip.vocabulary.settled import SettledArchitecture
from sanitizer.checkpoints.model import LoadedCheckpoint, load_canonical
from sanitizer.data.labelled import LabelledDataset, open_labelled, templates_of
from sanitizer.pipeline.anchors import open_anchor
from sanitizer.pipeline.judging_null import check_null
from sanitizer.pipeline.opening import ForAudit
from sanitizer.pipeline.places import Places
from sanitizer.pipeline.settling import settle
from sanitizer.run import Run
from sanitizer.scans import opening
from sanitizer.scans.hypotheses import DOSES
from sanitizer.scans.meter import Meter
from sanitizer.scans.opening import ScanImages
from sanitizer.scans.subject import Subject
from sanitizer.software import software
from sanitizer.training.device import share_cores

_CLASSES_AT_ONCE = 1024


@dataclass(frozen=True, kw_only=True)
class OpenedScan:
    """One model, ready to be scanned."""

    spec: ScanSpec
    null: NullSet | None
    checkpoint: LoadedCheckpoint
    labelled: LabelledDataset
    images: ScanImages
    class_names: tuple[str, ...]
    subject: Subject
    device: torch.device
    conditions: Conditions
    anchor: LoadedCheckpoint | None = None

    @property
    def anchor_sha256(self) -> str | None:
        """Of its weights."""
        return None if self.anchor is None else self.anchor.weights_sha256


@contextmanager
def open_for_scan(
    places: Places, spec: ScanSpec, run: Run, *, null: NullSet | None = None
) -> Iterator[OpenedScan]:
    """The model under the settings that its images fit, its images decoded, its classes embedded; so the
    anchor. A model that `spec.audit` would refuse is refused now (`settings_at_chance`), and so is one that
    `null` cannot judge."""
    options, seed = spec.scan, spec.seed
    for refusal in of_options(options, has_anchor=places.anchor is not None):
        raise refusal
    labelled = open_labelled(places.data)
    class_names = opening.class_names_of(labelled, options)
    templates = templates_of(options, labelled, where="scan")
    checkpoint = load_canonical(places.checkpoint)
    anchor = None if places.anchor is None else open_anchor(places.anchor, checkpoint)
    images = opening.draw_images(labelled, checkpoint.architecture.image_size, options, seed)
    share_cores(checkpoint.model, run.device)
    given = ForAudit(checkpoint=checkpoint, labelled=labelled, retrieval=None)
    checkpoint, settled = _settled(given, spec, run, audit_next=spec.audit)
    anchor_settled = None
    if anchor is not None:
        given = ForAudit(checkpoint=anchor, labelled=labelled, retrieval=None)
        anchor, anchor_settled = _settled(given, spec, run)
    if null is not None:
        scan = ScanToJudge(
            architecture=checkpoint.architecture.to_config(),
            class_names=class_names,
            images_sha256=labelled.sha256,
            options=options,
            seed=seed,
            anchor_sha256=None if anchor is None else anchor.weights_sha256,
        )
        check_null(null, scan, checkpoint.weights_sha256)
    meter = Meter(0, run.progress, run.stop)
    with opening.scanning(
        checkpoint,
        images,
        options,
        class_names=class_names,
        templates=templates,
        seed=seed,
        device=run.device,
        meter=meter,
        anchor=anchor,
    ) as subject:
        meter.plan(planned_thirds(subject, options))
        conditions = Conditions(
            settled=settled,
            anchor_settled=anchor_settled,
            num_enlarged=images.num_enlarged,
            num_near=0 if subject.class_CD is None else _num_near(subject.class_CD, class_names),
            repeated=next(iter(repeated := repeated_names(class_names)), None),
            num_repeated=len(repeated),
        )
        for warning in scan_warnings(
            conditions,
            options,
            num_images=len(images.image_MCHW) + len(images.held_NCHW),
            num_skipped=len(images.skipped),
            has_anchor=anchor is not None,
            null=None if null is None else null.used,
            code_version=software()["code_version"],
        ):
            run.progress(Announced(level="warning", message=warning))
        yield OpenedScan(
            spec=spec,
            null=null,
            checkpoint=checkpoint,
            labelled=labelled,
            images=images,
            class_names=class_names,
            subject=subject,
            device=run.device,
            conditions=conditions,
            anchor=anchor,
        )


def _settled(
    given: ForAudit, spec: ScanSpec, run: Run, *, audit_next: AuditOptions | None = None
) -> tuple[LoadedCheckpoint, SettledArchitecture | None]:
    """The model under the heads and the activation that fit its images, as in an audit; and their figures.

    A scan needs no classifier: one that names no image better than guessing does is scanned as it was read,
    unless an audit comes next, which needs one.
    """
    order = AuditOptions(target=given.labelled.class_names[0], templates=spec.scan.templates)
    try:
        settled = settle(given, order, run, seed=spec.seed)
    except CheckpointRejected as error:
        if error.code != "settings_at_chance":
            raise
        if audit_next is not None:  # its templates may be others
            settle(given, audit_next, run, seed=spec.seed)
        return given.checkpoint, None
    return settled.given.checkpoint, settled.figures


def planned_thirds(subject: Subject, options: ScanOptions) -> int:
    """Of the whole scan: detectors, and what is done with the patterns they find."""
    num_held_out = len(subject.held_NCHW)
    # The best pattern of each family, the best edit of each kind.
    num_studied = len(options.families) + len(get_args(EditName)) * sum(
        name in options.detectors for name in ("edits", "residual")
    )
    detecting = cost_thirds(options, num_held_out=num_held_out, num_images=len(subject.image_MCHW))
    return detecting + num_studied * len(DOSES) * num_held_out


def _num_near(class_CD: Tensor, class_names: Sequence[str]) -> int:
    """Pairs of different names whose texts have a cosine above `NEAR_COSINE`."""
    names = [as_clip_reads(name) for name in class_names]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    name_C = torch.tensor([numbers[name] for name in names], device=class_CD.device)
    num = 0
    for start in range(0, len(names), _CLASSES_AT_ONCE):
        rows = slice(start, start + _CLASSES_AT_ONCE)
        near_KC = class_CD[rows] @ class_CD.T > NEAR_COSINE
        near_KC &= name_C[rows, None] != name_C
        num += int(near_KC.triu(start + 1).sum())
    return num
