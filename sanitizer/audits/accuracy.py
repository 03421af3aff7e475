"""Clean accuracy: how often an untouched image gets its own class. Counts predictions; knows no model.

Shapes: N images.
"""

from __future__ import annotations

from torch import Tensor

from sanitizer.audits.statistics import wilson
from sanitizer.report import Estimate


def top_k(label_rank_N: Tensor, k: int) -> Estimate:
    """The share of images whose true class is among the first `k` (with fewer classes than k: all).

    `label_rank_N` counts the classes that come before the true one (`zero_shot.rank_of_label`).
    """
    return wilson(int((label_rank_N < k).sum()), len(label_rank_N))
