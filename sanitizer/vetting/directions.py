"""Score `trigger_direction`: how far the residual points to where a known trigger moves images.

    max_j ⟨r(x), d_j⟩        d_j = mean_i( f(x_i ⊕ ω_j) − f(x_i) ) / ‖·‖

ω_j are triggers that a scan found or that somebody suspects, r the residual against the anchor
(`scans.regression`), x_i clean images. A direction may also be given as a vector. Of several triggers the
largest counts. Scores that ask for one direction are common (Tran et al., NeurIPS 2018, take the top one of
the data); taking that of a found trigger is ours.

Shapes: N samples, D embedding width, J directions.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_TINY = 1e-12


def unit(direction_JD: Floats) -> Floats:
    """Rows of unit length. A trigger that moves nothing has no direction: its row is zero."""
    length_J1 = np.linalg.norm(direction_JD, axis=1, keepdims=True)
    rows: Floats = np.where(length_J1 > _TINY, direction_JD / np.maximum(length_J1, _TINY), 0.0)
    return rows


def trigger_direction(residual_ND: Floats, unit_JD: Floats) -> Floats:
    """[N]; `unit_JD` as `unit` gives it."""
    score_N: Floats = (residual_ND @ unit_JD.T).max(axis=1)
    return score_N
