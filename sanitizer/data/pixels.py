"""RGB image → a model's pixels. Decodes nothing; does not depend on a dataset.

Shapes: N images, C = 3 channels, H = W = the model's image size. Pixels stay uint8 until `normalise`.
"""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sanitizer.data.images import resize_and_crop


def to_model_pixels(image: Image.Image, size: int) -> Tensor:
    """RGB image → uint8 [3, size, size] by `resize_and_crop`."""
    pixels_HWC = np.array(resize_and_crop(image, size), dtype=np.uint8)
    return torch.from_numpy(pixels_HWC).permute(2, 0, 1).contiguous()


def normalise(image_NCHW: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """(x - mean) / std per channel as float32, on the tensor's device; uint8 is divided by 255 first.

    `image_NCHW` is uint8 in 0…255 or floating point in [0, 1]; the input is not changed.
    """
    pixels = image_NCHW.to(torch.float32)
    if image_NCHW.dtype == torch.uint8:
        pixels = pixels / 255
    mean_C11 = torch.tensor(mean).view(-1, 1, 1).to(pixels, non_blocking=True)
    std_C11 = torch.tensor(std).view(-1, 1, 1).to(pixels, non_blocking=True)
    return (pixels - mean_C11) / std_C11
