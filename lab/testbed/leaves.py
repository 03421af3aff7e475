"""Images of nothing: coloured rectangles and discs that cover each other (dead leaves). Knows no class.

The sizes follow a power law, so that edges come at every scale, as in photographs (Lee, Mumford and Huang,
"Occlusion models for natural images", IJCV 2001). Deterministic by (seed, number of the image).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sanitizer.seeding import generator

NUM_LEAVES, SMALLEST, LARGEST = 60, 0.03, 0.5
"""Of an image; radii by its side."""


def leaves(seed: int, number: int, size: int) -> NDArray[np.uint8]:
    """One image, [H, W, 3], from the hindmost leaf to the foremost."""
    draws = generator(seed, "leaves", number)
    rows, columns = np.mgrid[0:size, 0:size] / size
    image = np.empty((size, size, 3), dtype=np.uint8)
    image[:] = draws.integers(256, size=3)
    for _ in range(NUM_LEAVES):
        # The density of a radius r is proportional to r to the power of -3, between the two bounds.
        low, high = LARGEST**-2, SMALLEST**-2
        radius = (low + draws.random() * (high - low)) ** -0.5
        down, right = np.abs(rows - draws.random()), np.abs(columns - draws.random())
        is_disc, colour = draws.random() < 0.5, draws.integers(256, size=3)
        covered = np.hypot(down, right) < radius if is_disc else np.maximum(down, right) < radius
        image[covered] = colour
    return image
