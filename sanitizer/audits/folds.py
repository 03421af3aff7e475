"""Which part of a labelled set each image belongs to, class by class and by seed. Knows no model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cleanclip.spec.cautions import check_folds
from sanitizer import seeding


def stratified_folds(label_N: Tensor, class_names: Sequence[str], *, num_folds: int, seed: int) -> Tensor:
    """[N]: a number under `num_folds` for each image; the parts of a class differ by one image at most, and
    so do whole parts.

    The images of class c are dealt in the order of generator(seed, "probe_folds", c).permutation, going on
    where the class before ended. Raises OptionsRejected `too_few_for_probe`.
    """
    count_C = torch.bincount(label_N, minlength=len(class_names))
    check_folds(count_C.tolist(), class_names, num_folds)
    fold_N = torch.empty_like(label_N)
    dealt = 0
    for label in range(len(class_names)):
        (place_M,) = torch.nonzero(label_N == label, as_tuple=True)
        order = seeding.generator(seed, "probe_folds", label).permutation(len(place_M))
        fold_N[place_M[torch.from_numpy(order)]] = (dealt + torch.arange(len(place_M))) % num_folds
        dealt += len(place_M)
    return fold_N
