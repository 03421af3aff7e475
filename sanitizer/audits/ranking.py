"""Places of candidates by similarity. Knows neither images nor captions, and no model.

Shapes: Q queries and N candidates of a comparison, D embedding width. Comparisons are made in the dtype that
comes in, which is float64 where the device has it; ties go to the lower candidate number.
"""

from collections.abc import Callable, Sequence, Set

import torch
from torch import Tensor

QUERIES_AT_ONCE = 256


def best_rank(similarity_QN: Tensor, is_right_QN: Tensor) -> Tensor:
    """[Q]: how many candidates come before the first right one; ties by candidate number. Every query has a
    right candidate."""
    num_candidates = similarity_QN.shape[1]
    best_Q1 = similarity_QN.masked_fill(~is_right_QN, -torch.inf).amax(dim=1, keepdim=True)
    number_N = torch.arange(num_candidates, device=similarity_QN.device)
    is_best_QN = is_right_QN & (similarity_QN == best_Q1)
    first_Q1 = number_N.where(is_best_QN, num_candidates).amin(dim=1, keepdim=True)
    comes_before_QN = (similarity_QN > best_Q1) | ((similarity_QN == best_Q1) & (number_N < first_Q1))
    return comes_before_QN.sum(dim=1)


def best_ranks(
    query_QD: Tensor,
    candidate_ND: Tensor,
    right: Sequence[Set[int]],
    *,
    before_chunk: Callable[[], None] = lambda: None,
) -> list[int]:
    """`best_rank` of every query, whose right candidates are `right`; in chunks, because all queries against
    all candidates at once may not fit into memory. What `before_chunk` raises passes through."""
    ranks: list[int] = []
    for start in range(0, len(query_QD), QUERIES_AT_ONCE):
        before_chunk()
        similarity_QN = query_QD[start : start + QUERIES_AT_ONCE] @ candidate_ND.T
        is_right_QN = torch.zeros(similarity_QN.shape, dtype=torch.bool)
        for row, candidates in enumerate(right[start : start + QUERIES_AT_ONCE]):
            is_right_QN[row, list(candidates)] = True
        ranks += best_rank(similarity_QN, is_right_QN.to(similarity_QN.device)).tolist()
    return ranks
