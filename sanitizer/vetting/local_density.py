"""Score `local_density`: how sparse a sample's neighbourhood is beside those of its neighbours.

    DAO(q) = 1/k · Σ_{o ∈ NN_k(q)} ( r_k(q) / r_k(o) )^LID(o)
    LID(o) = − ( 1/k · Σ_{i ≤ k} ln( r_i(o) / r_k(o) ) )^−1

r_i(x): distance of x to its i-th nearest neighbour among the samples of one batch, x itself left out. DAO is
the dimensionality-aware outlier score of Anderberg et al. (SDM 2024, arXiv 2401.05453); Huang et al. (ICLR
2025, arXiv 2502.01385) find poisoned images by it, with k = 16 in batches of 1,024 training samples. LID is
the maximum likelihood estimate of the local intrinsic dimension (Amsaleg et al., KDD 2015). The score is ln
DAO, which sorts as DAO does and does not overflow.

It finds triggers in pixels while fewer than k of the batch carry them: more are each other's neighbours.

Shapes: B samples of a batch, D embedding width, K = k neighbours.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SMALLEST_DISTANCE = 1e-6
"""Of unit embeddings: float32 tells no smaller one from nothing, and equal images would divide by zero."""


def local_density(embedding_BD: Floats, k: int) -> Floats:
    """ln DAO of each row among the others, [B]; high is sparse. `embedding_BD` has rows of unit length.

    Raises ValueError unless there are at least k + 1 rows.
    """
    num_rows, width = embedding_BD.shape
    if num_rows < k + 1:
        raise ValueError(f"{num_rows} samples do not have {k} neighbours each")
    distance_BK, neighbour_BK = _nearest(embedding_BD, k)
    log_BK = np.log(distance_BK)
    log_radius_B = log_BK[:, -1]
    lid_B = _intrinsic_dimension(log_BK, width)
    exponent_BK = lid_B[neighbour_BK] * (log_radius_B[:, None] - log_radius_B[neighbour_BK])
    highest_B1 = exponent_BK.max(axis=1, keepdims=True)
    mean_B = np.exp(exponent_BK - highest_B1).mean(axis=1)
    score_B: Floats = highest_B1[:, 0] + np.log(mean_B)
    return score_B


def _nearest(embedding_BD: Floats, k: int) -> tuple[Floats, NDArray[np.int64]]:
    """Distances to the k nearest other rows, nearest first, and which rows they are."""
    square_BB = 2 - 2 * (embedding_BD @ embedding_BD.T)
    np.fill_diagonal(square_BB, np.inf)
    some_BK = np.sort(np.argpartition(square_BB, k - 1, axis=1)[:, :k], axis=1)
    some_square_BK = np.take_along_axis(square_BB, some_BK, axis=1)
    order_BK = np.argsort(some_square_BK, axis=1, kind="stable")
    nearest_BK = np.take_along_axis(some_square_BK, order_BK, axis=1)
    neighbour_BK = np.take_along_axis(some_BK, order_BK, axis=1)
    return np.sqrt(np.maximum(nearest_BK, SMALLEST_DISTANCE**2)), neighbour_BK


def _intrinsic_dimension(log_distance_BK: Floats, width: int) -> Floats:
    """[B]; where all neighbours are equally far, the estimate has no bound: then the width of the space."""
    mean_B = (log_distance_BK - log_distance_BK[:, -1:]).mean(axis=1)
    lid_B: Floats = 1 / np.maximum(-mean_B, 1 / width)
    return lid_B
