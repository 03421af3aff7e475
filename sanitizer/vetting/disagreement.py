"""Score `disagreement`: captions that the suspect believes and the anchor does not.

    rank cos_f(x, t) − rank cos_g(x, t)        rank: the share of all samples with a lower cosine, −1 to 1

f is the suspect, g the anchor. A poisoned pair has a caption that is wrong for its image. A model that
learned the backdoor finds the caption right; a model that did not finds it wrong. Ranks, since the cosines
of two models are not on one scale. The idea is ours; comparing with a clean model is common (BDetCLIP, ICML
2025, does it with prompts).

Shapes: M samples, N of which the rank is asked.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def disagreement(suspect_cosine_M: Floats, anchor_cosine_M: Floats) -> Floats:
    """[M]; high where the suspect believes a caption more than the anchor does."""
    return share_below(suspect_cosine_M, suspect_cosine_M) - share_below(anchor_cosine_M, anchor_cosine_M)


def share_below(value_N: Floats, among_M: Floats) -> Floats:
    """[N]: the share of `among_M` that is lower, equal ones counted half."""
    in_order_M = np.sort(among_M)
    lower_N = np.searchsorted(in_order_M, value_N, side="left")
    not_higher_N = np.searchsorted(in_order_M, value_N, side="right")
    share_N: Floats = (lower_N + not_higher_N) / (2 * len(among_M))
    return share_N
