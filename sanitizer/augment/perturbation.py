"""PAR's augmentation of a training image (arXiv 2412.00727): Gaussian noise, then a square erased.

Shapes: H rows, W columns, C = 3 channels. The draws, from the generator given, in this order:

    .random()   under noise_probability: .normal(0, noise_std, (H, W, C)) is added
    .random()   under erase_probability: .uniform(0.005, 0.01) is the square's area as a share of the image's,
                .integers(0, H - p + 1) and .integers(0, W - p + 1) its upper left corner, p its side
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

ERASED_SHARE = (0.005, 0.01)

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(frozen=True, kw_only=True)
class Perturbation:
    """`noise_std` in units of [0, 1]; `fill` is the erased square's colour, in levels."""

    noise_std: float
    noise_probability: float
    erase_probability: float
    fill: tuple[int, int, int]

    def apply(self, image_HWC: Pixels, rng: np.random.Generator) -> Pixels:
        """A new image of the same size; noise is cut to the range of pixels and rounded to levels."""
        perturbed_HWC = image_HWC.copy()
        if rng.random() < self.noise_probability:
            noise_HWC = rng.normal(0.0, self.noise_std, image_HWC.shape)
            noisy_HWC = np.rint(image_HWC + 255 * noise_HWC)
            perturbed_HWC = noisy_HWC.clip(0, 255).astype(np.uint8)
        if rng.random() < self.erase_probability:
            height, width, _ = image_HWC.shape
            side = round(math.sqrt(rng.uniform(*ERASED_SHARE) * height * width))
            side = min(side, height, width)
            top = int(rng.integers(0, height - side + 1))
            left = int(rng.integers(0, width - side + 1))
            perturbed_HWC[top : top + side, left : left + side] = self.fill
        return perturbed_HWC
