"""What a scan's report would say of the patterns that were found in one model. Judges nothing."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lab.zoo.rows import FoundPattern
from sanitizer.checkpoints.model import LoadedCheckpoint
from sanitizer.scans.hypotheses import Study
from sanitizer.scans.naming import vocabulary_of
from sanitizer.scans.opening import ScanImages
from sanitizer.scans.statistics import Found
from sanitizer.scans.subject import Subject


def found_patterns(
    found: Sequence[Found], subject: Subject, checkpoint: LoadedCheckpoint, class_names: Sequence[str]
) -> tuple[FoundPattern, ...]:
    """Each with its ASR, the first words of the open vocabulary, and an image with and without it."""
    num_images, num_held_out = len(subject.image_MCHW), len(subject.held_NCHW)
    images = ScanImages(
        image_MCHW=subject.image_MCHW,
        held_NCHW=subject.held_NCHW,
        held_index=tuple(range(num_images, num_images + num_held_out)),
        held_label=subject.label_N,
        skipped=(),
        num_enlarged=0,
    )
    study = Study(subject, images, class_names, vocabulary_of(checkpoint, torch.device("cpu")))
    patterns = []
    for one in found:
        hypothesis = study.of(one).hypothesis
        (example,) = study.examples(one, hypothesis, 1)
        patterns.append(
            FoundPattern(
                family=one.group,
                target=hypothesis.target,
                asr=hypothesis.asr,
                words=tuple(named.word for named in hypothesis.words),
                image=hypothesis.trigger.image,
                clean_example=example.clean,
                example=example.triggered,
            )
        )
    return tuple(patterns)
