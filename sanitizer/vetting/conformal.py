"""p-values against trusted samples, ranks where there are none, and how those of several scores are combined.

    p(s) = ( 1 + #{trusted i: s_i ≥ s} ) / (n + 1)                    (conformal; Vovk et al., 2005)
    u(s) = #{samples j: s_j ≥ s} / N                                  (a rank as a share; no p-value)
    T = 1/m · Σ tan( (½ − p_i) π )        p = ½ − arctan(T) / π       (Cauchy; Liu and Xie, JASA 2020)

A p-value is valid where a clean sample and the trusted ones are exchangeable: for any level a, at most a
share a of the clean samples has p ≤ a. Scores may depend on each other; Cauchy's combination is then valid
for small levels: with scores of a correlation near .5, up to a fifth more than a of the clean samples has p
≤ a (simulated in the tests). A p-value near 1 would cancel a small one (tan → −∞), and a trigger that makes
a sample unusual by one score can make it very usual by another. So a p-value counts as `MOST` at most (the
truncated Cauchy combination, arXiv 2506.12489).

Shapes: N samples, n trusted ones, S scores.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MOST = 0.95
"""A larger p counts as this: tan((½ − .95) π) = −6.3."""


def p_values(score_N: Floats, trusted_n: Floats) -> Floats:
    """[N], each from 1/(n + 1) to 1. Ties count against the sample that is judged: its p is higher."""
    in_order_n = np.sort(trusted_n)
    num_below_N = np.searchsorted(in_order_n, score_N, side="left")
    p_N: Floats = (1 + len(trusted_n) - num_below_N) / (len(trusted_n) + 1)
    return p_N


def rank_shares(score_N: Floats) -> Floats:
    """[N], each from 1/N to 1: the share of all samples with a score at least as high."""
    in_order_N = np.sort(score_N)
    share_N: Floats = (len(score_N) - np.searchsorted(in_order_N, score_N, side="left")) / len(score_N)
    return share_N


def combined(p_NS: Floats) -> Floats:
    """One p-value (or share) a row, [N], each in (0, 1)."""
    mean_N = np.tan((0.5 - np.minimum(p_NS, MOST)) * np.pi).mean(axis=1)
    p_N: Floats = 0.5 - np.arctan(mean_N) / np.pi
    return p_N


def worst(combined_N: Floats, tie_N: Floats, share: float) -> NDArray[np.int64]:
    """Places of the worst `share` of all, at least one, worst first: lowest `combined_N`, then `tie_N`, then
    place."""
    num = max(1, int(share * len(combined_N)))
    return np.lexsort((np.arange(len(combined_N)), tie_N, combined_N))[:num].astype(np.int64)
