"""Attack success: what a trigger does to predictions. Counts predictions; needs no model or trigger.

Shapes: N images of the whole test set, in order.

ASR is the share of triggered images called the target, *without* images of the target class: those are
right answers, not successes (research code includes them or drops them from the numerator only). The
inclusive share stands beside it for comparison with papers. PA is the share of all triggered images that
still get their true label. The untriggered target rate is the floor under ASR: how often a clean image
of another class is called the target.
"""

from dataclasses import dataclass

from torch import Tensor

from cleanclip.vocabulary.audit_figures import AttackChange
from cleanclip.vocabulary.errors import DatasetRejected
from cleanclip.vocabulary.measures import Estimate, RankDistribution, TopK
from sanitizer.audits.statistics import paired_difference, wilson
from sanitizer.audits.target_ranks import rank_distribution

TOP_KS = (2, 3, 5, 10, 100)


@dataclass(frozen=True, kw_only=True)
class Triggered:
    """Of each triggered image whether it was called the target, and whether its true class."""

    is_target_N: Tensor
    is_right_N: Tensor


@dataclass(frozen=True, kw_only=True)
class AttackSuccess:
    asr: Estimate
    asr_including_target: Estimate
    pa: Estimate
    top_k: tuple[TopK, ...]
    rank: RankDistribution


def attack_success(
    predicted_N: Tensor, target_rank_N: Tensor, label_N: Tensor, target: int, *, num_classes: int
) -> AttackSuccess:
    """Count the predictions on triggered images; `target` is a class number, `target_rank_N` how many classes
    come before it (`zero_shot.rank_of_label`)."""
    return AttackSuccess(
        asr=target_rate(predicted_N, label_N, target),
        asr_including_target=wilson(int((predicted_N == target).sum()), len(label_N)),
        pa=wilson(int((predicted_N == label_N).sum()), len(label_N)),
        top_k=target_top_k(target_rank_N, label_N, target, num_classes=num_classes),
        rank=target_rank(target_rank_N, label_N, target, num_classes=num_classes),
    )


def attack_change(
    name: str, before: Triggered, after: Triggered, label_N: Tensor, target: int
) -> AttackChange:
    """What the attack lost from one model to another, on the same triggered images, paired."""
    is_other_N = label_N != target
    return AttackChange(
        attack=name,
        asr_lost=paired_difference(
            before.is_target_N[is_other_N].tolist(), after.is_target_N[is_other_N].tolist()
        ),
        pa_lost=paired_difference(before.is_right_N.tolist(), after.is_right_N.tolist()),
    )


def target_top_k(
    target_rank_N: Tensor, label_N: Tensor, target: int, *, num_classes: int
) -> tuple[TopK, ...]:
    """The share of images of other classes that have the target among the first k, for every k of `TOP_KS`
    under the number of classes. There must be an image of another class (`target_rate`)."""
    other_rank_M = target_rank_N[label_N != target]
    return tuple(
        TopK(k=k, share=wilson(int((other_rank_M < k).sum()), len(other_rank_M)))
        for k in TOP_KS
        if k < num_classes
    )


def target_rank(target_rank_N: Tensor, label_N: Tensor, target: int, *, num_classes: int) -> RankDistribution:
    """The place of the target for images of other classes, of which there must be one (`target_rate`)."""
    return rank_distribution(target_rank_N[label_N != target].tolist(), num_classes=num_classes)


def target_rate(predicted_N: Tensor, label_N: Tensor, target: int) -> Estimate:
    """The share of images of other classes that are called the target.

    Raises DatasetRejected `only_target_images` if there is no image of another class.
    """
    is_other_N = label_N != target
    if not bool(is_other_N.any()):
        raise DatasetRejected(
            "only_target_images",
            "Every test image belongs to the target class, so an attack cannot succeed on any of them.",
            "Add images of other classes, or choose another target.",
        )
    return wilson(int((predicted_N[is_other_N] == target).sum()), int(is_other_N.sum()))
