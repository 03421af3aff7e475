"""Which part of a labelled set each image belongs to, class by class and by seed. Knows no model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sanitizer import seeding
from sanitizer.errors import OptionsRejected


def stratified_folds(label_N: Tensor, class_names: Sequence[str], *, num_folds: int, seed: int) -> Tensor:
    """[N]: a number under `num_folds` for each image; the parts of a class differ by one image at most, and
    so do whole parts.

    The images of class c are dealt in the order of generator(seed, "probe_folds", c).permutation, going on
    where the class before ended. Raises OptionsRejected `too_few_for_probe`.
    """
    count_C = torch.bincount(label_N, minlength=len(class_names))
    _check_enough(count_C.tolist(), class_names, num_folds)
    fold_N = torch.empty_like(label_N)
    dealt = 0
    for label in range(len(class_names)):
        (place_M,) = torch.nonzero(label_N == label, as_tuple=True)
        order = seeding.generator(seed, "probe_folds", label).permutation(len(place_M))
        fold_N[place_M[torch.from_numpy(order)]] = (dealt + torch.arange(len(place_M))) % num_folds
        dealt += len(place_M)
    return fold_N


def _check_enough(counts: Sequence[int], class_names: Sequence[str], num_folds: int) -> None:
    few = [label for label, count in enumerate(counts) if count < num_folds]
    if not few:
        return
    fewest = min(few, key=lambda label: counts[label])
    more = len(few) - 1
    others = f" {more} more {'has' if more == 1 else 'have'} too few." if more else ""
    smaller = f", set folds to at most {counts[fewest]}" if counts[fewest] >= 2 else ""
    raise OptionsRejected(
        "too_few_for_probe",
        f"Class '{class_names[fewest]}' has {counts[fewest]} usable images, too few for a linear probe in "
        f"{num_folds} folds, which needs {num_folds} of each class.{others}",
        f"Add images of it{smaller}, or leave the linear probe out.",
        where="audit.linear_probe.folds",
    )
