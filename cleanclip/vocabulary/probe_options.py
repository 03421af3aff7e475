"""The options of a linear probe, with bounds. Free of torch; the code that obeys it is `audits.probe`."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Gt, Interval, Le

from cleanclip.vocabulary.bounds import NUMBER, StrictOptions, label


@dataclass(frozen=True, kw_only=True)
class LinearProbeOptions(StrictOptions):
    """Logistic regression from the image tower's embeddings to the labels, without the text tower.

    Fitted on the audit's own clean images in `folds` folds: the probe that judges an image, clean or
    triggered, was fitted without that image's fold. Every class needs an image in each fold. It costs one
    more pass of the images, and a fit for each fold. `c` is the inverse strength of the L2 penalty; the
    default is CLIP's value.
    """

    folds: Annotated[int, Interval(ge=2, le=20), NUMBER, label("Folds of the probe", is_advanced=True)] = 5
    """Folds; an image is judged by the probe that was fitted without its fold."""
    c: Annotated[float, Gt(0), Le(1e6), NUMBER, label("C of the probe", is_advanced=True)] = 0.316
    """Inverse strength of the L2 penalty (scikit-learn's C)."""
    max_iterations: Annotated[
        int, Interval(ge=1, le=10_000), NUMBER, label("Iterations of the probe", is_advanced=True)
    ] = 1000
    """Iterations of L-BFGS; the report says if a fit has not converged."""
