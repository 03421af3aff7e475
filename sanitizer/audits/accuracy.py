"""Clean accuracy: how often an untouched image gets its own class. Counts predictions; needs no model.

Shapes: N images, C classes.
"""

from collections.abc import Sequence

from torch import Tensor

from cleanclip.vocabulary.audit_figures import (
    MOST_CLASSES_LISTED,
    MOST_CLASSES_REPORTED,
    ClassAccuracy,
    ClassChange,
)
from cleanclip.vocabulary.measures import Estimate
from sanitizer.audits.statistics import paired_difference, wilson


def top_k(label_rank_N: Tensor, k: int) -> Estimate:
    """The share of images whose true class is among the first `k` (with fewer classes than k: all).

    `label_rank_N` counts the classes that come before the true one (`zero_shot.rank_of_label`).
    """
    return wilson(int((label_rank_N < k).sum()), len(label_rank_N))


def per_class(correct_N: Tensor, label_N: Tensor, class_names: Sequence[str]) -> tuple[ClassAccuracy, ...]:
    """The share of each class's images that were classified right, in the order of the labels.

    `correct_N` is boolean. A class without images is left out; all are, of more than `MOST_CLASSES_LISTED`.
    """
    if len(set(label_N.tolist())) > MOST_CLASSES_LISTED:
        return ()
    num_classes = len(class_names)
    num_images_C = label_N.bincount(minlength=num_classes).tolist()
    num_right_C = label_N[correct_N].bincount(minlength=num_classes).tolist()
    return tuple(
        ClassAccuracy(class_name=name, accuracy=wilson(num_right, num_images))
        for name, num_right, num_images in zip(class_names, num_right_C, num_images_C, strict=True)
        if num_images > 0
    )


def classes_lost(
    correct_before_N: Tensor, correct_after_N: Tensor, label_N: Tensor, class_names: Sequence[str]
) -> tuple[ClassChange, ...]:
    """The classes that lost the most accuracy, worst first; a class that lost none is left out.

    The two are booleans for the same images in the same order.
    """
    changes = []
    for label in sorted(set(label_N.tolist())):
        is_of_class_N = label_N == label
        before_M, after_M = correct_before_N[is_of_class_N], correct_after_N[is_of_class_N]
        lost = paired_difference(before_M.tolist(), after_M.tolist())
        if lost.value > 0:
            changes.append(
                ClassChange(
                    class_name=class_names[label],
                    before=wilson(int(before_M.sum()), len(before_M)),
                    after=wilson(int(after_M.sum()), len(after_M)),
                    lost=lost,
                )
            )
    changes.sort(key=lambda change: -change.lost.value)  # stable: among equals the first class
    return tuple(changes[:MOST_CLASSES_REPORTED])
