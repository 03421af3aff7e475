"""ASR and PA of a trigger that no order can describe, for whoever runs the library.

Shapes: C classes, D embedding width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from cleanclip.vocabulary.audit_figures import TargetFigures
from cleanclip.vocabulary.measures import Estimate
from cleanclip.vocabulary.progress import Progress, ignore
from cleanclip.vocabulary.targets import find_target
from sanitizer.attacks.trigger import Trigger
from sanitizer.audits.accuracy import top_k
from sanitizer.audits.attack_success import AttackSuccess
from sanitizer.audits.class_memory import ClassMemory
from sanitizer.audits.counting import Counts
from sanitizer.audits.images_under_model import ImagesUnderModel
from sanitizer.audits.measuring import measuring
from sanitizer.audits.targets import Targets
from sanitizer.audits.watch import Watch
from sanitizer.audits.zero_shot import nearest
from sanitizer.data.batches import LabelledBatches
from sanitizer.data.templates import IMAGENET_80

if TYPE_CHECKING:
    from sanitizer.checkpoints.model import LoadedCheckpoint
    from sanitizer.data.labelled import LabelledDataset


@dataclass(frozen=True, kw_only=True)
class TriggerFigures:
    """One trigger on one labelled set, with the counts and 95 % Wilson intervals of an audit."""

    seed: int
    ca: Estimate
    floor: TargetFigures
    """Of the same images without the trigger."""
    success: AttackSuccess


def measure_trigger(
    checkpoint: LoadedCheckpoint,
    labelled: LabelledDataset,
    trigger: Trigger,
    *,
    target: str,
    seed: int,
    device: torch.device,
    batch_size: int = 64,
    max_skipped_share: float = 0.01,
    progress: Progress = ignore,
) -> TriggerFigures:
    """What `run_audit` would count of this trigger, in two passes of every image, in float32.

    Templates are those of the set, else ImageNet's 80. Raises OptionsRejected for a target that is not one of
    the classes, DatasetRejected if too many images are bad or all are of the target class, ValueError as the
    trigger's `apply` does.
    """
    class_number = find_target(target, labelled.class_names, where="target")
    watch = Watch(
        progress=progress,
        phase="baseline_audit",
        total=len(labelled),
        num_images=len(labelled),
        stop=lambda: False,
    )
    batches = LabelledBatches(
        labelled,
        image_size=checkpoint.architecture.image_size,
        batch_size=batch_size,
        max_skipped_share=max_skipped_share,
    )
    run = ImagesUnderModel(checkpoint=checkpoint, batches=batches, device=device, watch=watch, seed=seed)
    counts = Counts.for_targets(Targets(own=class_number, of_attacks=(class_number,)), None)
    templates = labelled.templates or IMAGENET_80
    with measuring(checkpoint, device):
        class_CD = ClassMemory().embeddings(checkpoint, labelled.class_names, templates, device)
        watch.start_images()
        for batch, image_NCHW in run.images():
            counts.add_untriggered(
                batch.label_N.to(device, non_blocking=True), *nearest(run.embed(image_NCHW), class_CD)
            )
            triggered_NCHW = trigger.apply(image_NCHW, batch.index_N, seed)
            counts.triggered[0].add(*nearest(run.embed(triggered_NCHW), class_CD))
    label_N = torch.cat(counts.label)
    return TriggerFigures(
        seed=seed,
        ca=top_k(torch.cat(counts.label_rank), 1),
        floor=counts.untriggered[0].figures_of_target(label_N, class_names=labelled.class_names),
        success=counts.triggered[0].success(label_N, num_classes=len(labelled.class_names)),
    )
