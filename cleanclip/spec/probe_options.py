"""What a linear probe can be told, with bounds. Free of torch; the code that obeys it is `audits.probe`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Gt, Interval, Le

from cleanclip.spec.bounds import NUMBER, StrictOptions


@dataclass(frozen=True, kw_only=True)
class LinearProbeOptions(StrictOptions):
    """Logistic regression from the image tower's embeddings to the labels, whatever the text tower says.

    Fitted on the audit's own clean images, in `folds` parts: an image is judged by the probe that was fitted
    without its part, with a trigger too. Every class needs an image for each part. It costs one more pass of
    the images, and a fit for each part. `c` weighs the images against the squared weights; CLIP's value.
    """

    folds: Annotated[int, Interval(ge=2, le=20), NUMBER] = 5
    c: Annotated[float, Gt(0), Le(1e6), NUMBER] = 0.316
    max_iterations: Annotated[int, Interval(ge=1, le=10_000), NUMBER] = 1000
    """Of L-BFGS; a fit that needs more says that it has not converged."""
