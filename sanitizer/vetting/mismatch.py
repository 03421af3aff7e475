"""Score `mismatch`: how little a caption fits its image.

    − cos(x, t)

By the anchor where there is one, since the suspect believes the captions that it was poisoned with; else by
the suspect. It is CLIPScore (Hessel et al., EMNLP 2021) with the opposite sign, and finds a wrong caption
that no model has learned yet.

Shapes: N samples, D embedding width.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def cosine(image_ND: Floats, text_ND: Floats) -> Floats:
    """[N], of rows of unit length."""
    cosine_N: Floats = np.einsum("nd,nd->n", image_ND, text_ND)
    return cosine_N


def mismatch(cosine_N: Floats) -> Floats:
    """[N]; high is a caption that does not fit."""
    return -cosine_N
