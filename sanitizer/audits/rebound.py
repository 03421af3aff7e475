"""What a model does at one point of a rebound curve. Trains nothing.

Shapes: N images of the sample.

The triggers, classes, templates and arithmetic are those of `run_audit`; the images are a sample of its
images, drawn once for all points. `sanitizer.pipeline.rebound` trains the model between the points.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from cleanclip.vocabulary.attack_options import of_same_pixels
from cleanclip.vocabulary.progress import Advanced, ProgressEvent
from cleanclip.vocabulary.rebound_figures import ReboundPoint, ReboundShare
from cleanclip.vocabulary.recipe import AuditOptions
from sanitizer.attacks.catalogue import build_triggers
from sanitizer.attacks.trigger import Trigger
from sanitizer.audits.accuracy import top_k
from sanitizer.audits.attack_success import target_rate
from sanitizer.audits.audit import count_answers
from sanitizer.audits.counting import Answers, Counts
from sanitizer.audits.images_under_model import ImagesUnderModel
from sanitizer.audits.measuring import measuring
from sanitizer.audits.targets import find_targets
from sanitizer.audits.watch import Watch
from sanitizer.audits.zero_shot import class_embeddings
from sanitizer.data.batches import LabelledBatches
from sanitizer.data.labelled import templates_of
from sanitizer.seeding import generator

if TYPE_CHECKING:
    from sanitizer.checkpoints.model import LoadedCheckpoint
    from sanitizer.data.labelled import LabelledDataset


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The images that every point is measured on, and how."""

    labelled: LabelledDataset
    indices: tuple[int, ...]
    seed: int
    device: torch.device
    num_workers: int
    stop: Callable[[], bool]


def draw_sample(measured: Sequence[int], at_most: int, seed: int) -> tuple[int, ...]:
    """`at_most` of the images that the final audit measured, in order; all, where they are fewer.

    The stream: generator(seed, "rebound_images").choice(number, at_most, replace=False), then sorted.
    """
    if len(measured) <= at_most:
        return tuple(measured)
    chosen = generator(seed, "rebound_images").choice(len(measured), at_most, replace=False)
    return tuple(measured[int(place)] for place in sorted(chosen))


def measure_point(
    checkpoint: LoadedCheckpoint,
    options: AuditOptions,
    sample: Sample,
    *,
    step: int,
    after_share: Callable[[float], None],
) -> ReboundPoint:
    """CA and the ASR of every attack of `options`, of the model as it is now, which is left on its device.

    `after_share` hears how much of it is done, 0 to 1. Raises what `run_audit` raises.
    """
    targets = find_targets(options, sample.labelled.class_names)
    counts = Counts.for_targets(targets, None)
    triggers, alike = build_triggers(options.attacks), of_same_pixels(options.attacks)
    count_sample(checkpoint, options, sample, counts, triggers, alike=alike, after_share=after_share)
    return ReboundPoint(
        step=step, ca=top_k(torch.cat(counts.label_rank), 1), attacks=shares_of(counts, counts.triggered)
    )


def count_sample(
    checkpoint: LoadedCheckpoint,
    options: AuditOptions,
    sample: Sample,
    counts: Counts,
    triggers: Sequence[Trigger],
    *,
    alike: Sequence[Sequence[int]],
    after_share: Callable[[float], None],
) -> None:
    """Fills `counts` with what the model says of the sample."""
    labelled = sample.labelled

    def heard(event: ProgressEvent) -> None:
        if (
            isinstance(event, Advanced) and event.total
        ):  # done: an index into the set, of which this is a part
            after_share(event.done / event.total)

    watch = Watch(
        progress=heard, phase="rebound", total=len(labelled), num_images=len(labelled), stop=sample.stop
    )
    batches = LabelledBatches(
        labelled,
        image_size=checkpoint.architecture.image_size,
        batch_size=options.batch_size,
        max_skipped_share=options.max_skipped_share,
        num_workers=sample.num_workers,
        indices=sample.indices,
    )
    run = ImagesUnderModel(
        checkpoint=checkpoint,
        batches=batches,
        device=sample.device,
        watch=watch,
        seed=sample.seed,
        precision=options.precision,
    )
    with measuring(checkpoint, sample.device, options.precision):
        class_CD = class_embeddings(
            checkpoint,
            labelled.class_names,
            templates_of(options, labelled),
            sample.device,
            precision=options.precision,
            after_classes=lambda _: watch.check(),
        )
        count_answers(run, class_CD, triggers, counts, alike=alike)


def shares_of(counts: Counts, attacks: Sequence[Answers]) -> tuple[ReboundShare, ...]:
    """Of each attack its ASR, and the share of the same images without the trigger."""
    label_N = torch.cat(counts.label)
    clean_N = torch.cat(counts.untriggered[0].predicted)
    return tuple(
        ReboundShare(
            asr=target_rate(torch.cat(answers.predicted), label_N, answers.target),
            untriggered_target_rate=target_rate(clean_N, label_N, answers.target),
        )
        for answers in attacks
    )
