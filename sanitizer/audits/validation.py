"""What a ladder's choice is made from: one model on the validation images. Trains and chooses nothing.

Shapes: N validation images, 3 channels, H = W the model's image size.

Beside the attacks of the order two kinds of changes are measured whose target is not asked for: triggers of
the suites that the order does not name, and patterns that were inverted on the model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from cleanclip.spec.attack_options import AttackOptions, names_of, of_same_pixels
from cleanclip.spec.auto_figures import UniversalShare, Validated, ValidatedAttack
from cleanclip.spec.recipe import AuditOptions, to_json
from sanitizer.attacks.catalogue import build_triggers
from sanitizer.attacks.trigger import Trigger
from sanitizer.audits.accuracy import top_k
from sanitizer.audits.counting import Answers, Counts
from sanitizer.audits.rebound import Sample, count_sample, shares_of
from sanitizer.audits.statistics import wilson
from sanitizer.audits.targets import find_targets
from sanitizer.perturbations.patterns import Pattern, apply_patterns
from sanitizer.seeding import generator

if TYPE_CHECKING:
    from sanitizer.checkpoints.model import LoadedCheckpoint


@dataclass(frozen=True, kw_only=True)
class Measured:
    """`correct_N`: which images are right without a trigger, for paired differences."""

    figures: Validated
    correct_N: Tensor
    num_skipped: int
    skipped_examples: tuple[str, ...]


@dataclass(frozen=True)
class PatternTrigger:
    """A pattern as a trigger: its place in an image is drawn by the image's index.

    generator(seed, "validation_place", index) .random(2)
    """

    pattern: Pattern

    def apply(self, image_NCHW: Tensor, index_N: Sequence[int], seed: int) -> Tensor:
        place_N2 = torch.from_numpy(
            np.stack([generator(seed, "validation_place", index).random(2) for index in index_N])
        )
        on_device = Pattern(self.pattern.family, self.pattern.value.to(image_NCHW.device))
        return apply_patterns(image_NCHW, [on_device], [0] * len(index_N), place_N2)


def measure_validation(
    checkpoint: LoadedCheckpoint,
    options: AuditOptions,
    sample: Sample,
    surrogates: Sequence[AttackOptions],
    after_share: Callable[[float], None],
    *,
    before: Validated | None = None,
) -> Measured:
    """The model with the attacks of the order and with `surrogates`. Raises what `run_audit` raises.

    `before`: the input model; None of the input model itself.
    """
    num_attacks = len(options.attacks)
    together = replace(options, attacks=(*options.attacks, *surrogates))
    counts = Counts.for_targets(find_targets(together, sample.labelled.class_names), None)
    batches = count_sample(
        checkpoint,
        together,
        sample,
        counts,
        build_triggers(together.attacks),
        alike=of_same_pixels(together.attacks),
        after_share=after_share,
    )
    rank_N = torch.cat(counts.label_rank)
    names = names_of(to_json(one) for one in surrogates)
    return Measured(
        figures=Validated(
            ca=top_k(rank_N, 1),
            attacks=_attacks(counts, counts.triggered[:num_attacks], sample.labelled.class_names, before),
            surrogates=_moved(counts, counts.triggered[num_attacks:], names, sample.labelled.class_names),
        ),
        correct_N=rank_N == 0,
        num_skipped=batches.num_skipped,
        skipped_examples=tuple(batches.skipped_examples),
    )


def measure_patterns(
    checkpoint: LoadedCheckpoint,
    options: AuditOptions,
    sample: Sample,
    patterns: Sequence[Pattern],
    after_share: Callable[[float], None],
) -> tuple[UniversalShare, ...]:
    """How far each pattern sends the validation images to one class. Raises what `run_audit` raises."""
    counts = Counts(untriggered=(Answers(0),), triggered=tuple(Answers(0) for _ in patterns))
    triggers: list[Trigger] = [PatternTrigger(pattern) for pattern in patterns]
    alike = [(number,) for number in range(len(patterns))]
    count_sample(checkpoint, options, sample, counts, triggers, alike=alike, after_share=after_share)
    names = [f"pattern {number + 1}" for number in range(len(patterns))]
    return _moved(counts, counts.triggered, names, sample.labelled.class_names)


def _attacks(
    counts: Counts, triggered: Sequence[Answers], class_names: tuple[str, ...], before: Validated | None
) -> tuple[ValidatedAttack, ...]:
    label_N, clean_N = torch.cat(counts.label), torch.cat(counts.untriggered[0].predicted)
    led_to = [one.elsewhere and one.elsewhere.class_name for one in before.attacks] if before else None
    found = []
    for share, answers, led in zip(
        shares_of(counts, triggered), triggered, led_to or [None] * len(triggered), strict=True
    ):
        towards = partial(answers.towards, clean_N=clean_N, label_N=label_N, class_names=class_names)
        number = answers.goes_to(label_N)
        found.append(
            ValidatedAttack(
                asr=share.asr,
                untriggered_target_rate=share.untriggered_target_rate,
                elsewhere=None if number == answers.target else towards(number),
                as_before=None if led is None else towards(class_names.index(led)),
            )
        )
    return tuple(found)


def _moved(
    counts: Counts, changed: Sequence[Answers], names: Sequence[str], class_names: Sequence[str]
) -> tuple[UniversalShare, ...]:
    clean_N = torch.cat(counts.untriggered[0].predicted)
    found = []
    for name, answers in zip(names, changed, strict=True):
        number, num_moved = most_moved(clean_N, torch.cat(answers.predicted), len(class_names))
        moved = wilson(num_moved, int((clean_N != number).sum()))
        found.append(UniversalShare(name=name, class_name=class_names[number], moved=moved))
    return tuple(found)


def most_moved(clean_N: Tensor, changed_N: Tensor, num_classes: int) -> tuple[int, int]:
    """The class that most images are called with a change and not without it, the first of equals, and how
    many they are. Class numbers, int64."""
    arrived_M = changed_N[changed_N != clean_N]
    count_C = torch.bincount(arrived_M, minlength=num_classes)
    most = int(count_C.max())
    return int((count_C == most).nonzero()[0]), most
