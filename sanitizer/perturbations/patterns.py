"""Patterns of several families and their use on the rows of a batch.

Legend: N images, 3 H W an image, K patterns.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sanitizer.perturbations.families import Family
from sanitizer.seeding import generator

NO_PATTERN = -1


@dataclass(frozen=True)
class Pattern:
    """A family and one of its patterns: `value`, float32 in [0, 1] of the family's shape."""

    family: Family
    value: Tensor


def drawn(family: Family, image_size: int, seed: int, stream: str, *indices: int) -> Pattern:
    """A pattern of independent uniform numbers, by name: the same on every machine."""
    numbers = generator(seed, stream, *indices).random(family.shape(image_size))
    return Pattern(family, torch.from_numpy(numbers).to(torch.float32))


def apply_patterns(
    image_NCHW: Tensor, patterns: Sequence[Pattern], which_N: Sequence[int], place_N2: Tensor
) -> Tensor:
    """The images, row n changed by pattern `which_N[n]`, or as it is where that is `NO_PATTERN`.

    Images are floating point in [0, 1]; `place_N2` are shares in [0, 1). Gradients reach the patterns.
    """
    rows_of: dict[Family, list[int]] = {}
    for row, which in enumerate(which_N):
        if which != NO_PATTERN:
            rows_of.setdefault(patterns[which].family, []).append(row)
    changed_NCHW = image_NCHW
    for family, rows in rows_of.items():
        index = torch.tensor(rows).to(image_NCHW.device, non_blocking=True)
        value_N = torch.stack([patterns[which_N[row]].value for row in rows])
        changed = family.apply(image_NCHW[index], value_N, place_N2[rows])
        changed_NCHW = changed_NCHW.index_copy(0, index, changed)
    return changed_NCHW
