"""The residual against an anchor: what the suspect sees in an image and the anchor does not.

    r(x) = f(x) − f̄ − W (g(x) − ḡ)        W = argmin Σ ‖r(x)‖² + λ n ‖W‖²        score: r(x)ᵀ (Σ + ε I)⁻¹ r(x)

f is the suspect, g the anchor; f̄, ḡ and Σ are means and covariance over the samples that it is fitted on,
which are trusted where there are any. W is a ridge regression (Hoerl and Kennard, 1970), the score the
squared Mahalanobis distance of the residual. A trigger moves f(x) and leaves g(x) where it was, so its
residual is large. Whitening with a trusted set is LoREx's idea; the regression on an anchor is ours.

Shapes: N samples, D width of the suspect's embeddings, G of the anchor's.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RIDGE = 1e-2
"""λ, as a share of the mean variance of the anchor's coordinates."""
SHRINKAGE = 1e-2
"""ε, as a share of the mean variance of the residual's coordinates."""
_TINY = 1e-30


@dataclass(frozen=True, kw_only=True)
class ResidualModel:
    """The fitted regression and the whitening of its residuals."""

    mean_D: Floats
    anchor_mean_G: Floats
    weight_GD: Floats
    precision_DD: Floats
    """(Σ + ε I)⁻¹"""

    def residual(self, suspect_ND: Floats, anchor_NG: Floats) -> Floats:
        """r(x) of each row, [N, D]."""
        residual_ND: Floats = suspect_ND - self.mean_D - (anchor_NG - self.anchor_mean_G) @ self.weight_GD
        return residual_ND

    def score(self, residual_ND: Floats) -> Floats:
        """The squared Mahalanobis distance of each residual, [N]."""
        score_N: Floats = np.einsum("nd,de,ne->n", residual_ND, self.precision_DD, residual_ND, optimize=True)
        return score_N


def fit(blocks: Iterable[tuple[Floats, Floats]]) -> ResidualModel:
    """From blocks of (suspect's, anchor's) embeddings, gone through once: only their moments are kept."""
    n = 0
    total: Floats | None = None
    moment: Floats | None = None
    width = 0
    for suspect_ND, anchor_NG in blocks:
        width = suspect_ND.shape[1]
        both = np.concatenate([suspect_ND, anchor_NG], axis=1)
        n += len(both)
        total = both.sum(axis=0) + (0 if total is None else total)
        moment = both.T @ both + (0 if moment is None else moment)
    if total is None or moment is None:
        raise ValueError("a regression needs samples")
    mean = total / n
    covariance = moment / n - np.outer(mean, mean)
    ff, fg, gg = covariance[:width, :width], covariance[:width, width:], covariance[width:, width:]
    weight_GD: Floats = np.linalg.solve(gg + _ridge(gg, RIDGE), fg.T).astype(np.float64)
    sigma = ff - fg @ weight_GD - (fg @ weight_GD).T + weight_GD.T @ gg @ weight_GD
    precision_DD: Floats = np.linalg.inv(sigma + _ridge(sigma, SHRINKAGE)).astype(np.float64)
    return ResidualModel(
        mean_D=mean[:width], anchor_mean_G=mean[width:], weight_GD=weight_GD, precision_DD=precision_DD
    )


def _ridge(covariance: Floats, share: float) -> Floats:
    size = len(covariance)
    ridge: Floats = (share * np.trace(covariance) / size + _TINY) * np.eye(size)
    return ridge
