"""AutoAugment's ImageNet policy on one image, drawn from a given generator.

`sanitizer.augment.tensor_images` does the same to a whole batch.

Shapes: C256 is one row of 256 levels for each of the three channels.

The policy is Cubuk et al., "AutoAugment: Learning Augmentation Strategies from Data" (arXiv 1805.09501),
table 9; operations, magnitudes and rounding are those of `torchvision.transforms.AutoAugment` on a PIL image
(nearest interpolation, black fill), bit for bit. Only the draws differ: they come from our generator.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageEnhance

_NUM_BINS = 10
_LEVELS = np.arange(256, dtype=np.uint8)
_INVERT = bytes(range(255, -1, -1))
Bytes = np.ndarray[Any, np.dtype[np.uint8]]
Counts = np.ndarray[Any, np.dtype[np.int64]]
_Drawable = tuple[str, float, int | None]
Operation = tuple[str, float]
"""A name and a magnitude in torchvision's units (degrees, levels, bits, factor - 1), sign included."""

# (operation, probability, magnitude index) twice: a sub-policy.
IMAGENET_POLICY: tuple[tuple[_Drawable, _Drawable], ...] = (
    (("posterize", 0.4, 8), ("rotate", 0.6, 9)),
    (("solarize", 0.6, 5), ("auto_contrast", 0.6, None)),
    (("equalize", 0.8, None), ("equalize", 0.6, None)),
    (("posterize", 0.6, 7), ("posterize", 0.6, 6)),
    (("equalize", 0.4, None), ("solarize", 0.2, 4)),
    (("equalize", 0.4, None), ("rotate", 0.8, 8)),
    (("solarize", 0.6, 3), ("equalize", 0.6, None)),
    (("posterize", 0.8, 5), ("equalize", 1.0, None)),
    (("rotate", 0.2, 3), ("solarize", 0.6, 8)),
    (("equalize", 0.6, None), ("posterize", 0.4, 6)),
    (("rotate", 0.8, 8), ("color", 0.4, 0)),
    (("rotate", 0.4, 9), ("equalize", 0.6, None)),
    (("equalize", 0.0, None), ("equalize", 0.8, None)),
    (("invert", 0.6, None), ("equalize", 1.0, None)),
    (("color", 0.6, 4), ("contrast", 1.0, 8)),
    (("rotate", 0.8, 8), ("color", 1.0, 2)),
    (("color", 0.8, 8), ("solarize", 0.8, 7)),
    (("sharpness", 0.4, 7), ("invert", 0.6, None)),
    (("shear_x", 0.6, 5), ("equalize", 1.0, None)),
    (("color", 0.4, 0), ("equalize", 0.6, None)),
    (("equalize", 0.4, None), ("solarize", 0.2, 4)),
    (("solarize", 0.6, 5), ("auto_contrast", 0.6, None)),
    (("invert", 0.6, None), ("equalize", 1.0, None)),
    (("color", 0.6, 4), ("contrast", 1.0, 8)),
    (("equalize", 0.8, None), ("equalize", 0.6, None)),
)
_SIGNED = frozenset({"shear_x", "rotate", "color", "contrast", "sharpness"})
_MAGNITUDES: dict[str, tuple[float, ...]] = {
    "shear_x": tuple(torch.linspace(0.0, 0.3, _NUM_BINS).tolist()),
    "rotate": tuple(torch.linspace(0.0, 30.0, _NUM_BINS).tolist()),
    "color": tuple(torch.linspace(0.0, 0.9, _NUM_BINS).tolist()),
    "contrast": tuple(torch.linspace(0.0, 0.9, _NUM_BINS).tolist()),
    "sharpness": tuple(torch.linspace(0.0, 0.9, _NUM_BINS).tolist()),
    "posterize": (8, 8, 7, 7, 6, 6, 5, 5, 4, 4),
    "solarize": tuple(torch.linspace(255.0, 0.0, _NUM_BINS).tolist()),
}


def auto_augment(image: Image.Image, operations: Sequence[Operation]) -> Image.Image:
    """The view of an RGB image that `draw_operations` drew, of the same size."""
    for name, magnitude in operations:
        image = apply_operation(image, name, magnitude)
    return image


def draw_operations(rng: np.random.Generator) -> list[Operation]:
    """What one view is made of: a sub-policy at random, each half with its probability, in order."""
    draws = rng.random(5).tolist()
    policy = IMAGENET_POLICY[int(draws[0] * len(IMAGENET_POLICY))]
    drawn = []
    for (name, probability, level), chance, sign in zip(policy, draws[1:3], draws[3:5], strict=True):
        if chance <= probability:
            choices = magnitudes(name, level)
            drawn.append((name, choices[-1] if sign < 0.5 else choices[0]))
    return drawn


@lru_cache(maxsize=256)
def magnitudes(name: str, level: int | None) -> tuple[float, ...]:
    """The magnitude at a level, and with the other sign after it where the operation has one."""
    magnitude = 0.0 if level is None else float(_MAGNITUDES[name][level])
    return (magnitude, -magnitude) if name in _SIGNED else (magnitude,)


def apply_operation(image: Image.Image, name: str, magnitude: float) -> Image.Image:
    """One operation on an RGB image; rotation and shear move the pixels of any mode. New image."""
    match name:
        case "posterize":
            return _by_table(image, posterize_table(int(magnitude)))
        case "solarize":
            return _by_table(image, solarize_table(magnitude))
        case "invert":
            return _by_table(image, _INVERT)
        case "auto_contrast":
            return _by_tables(image, _auto_contrast_tables(_histogram(image)))
        case "equalize":
            return _by_tables(image, _equalize_tables(_histogram(image)))
        case "rotate":
            return image.rotate(magnitude, Image.Resampling.NEAREST)
        case "shear_x":
            return _shear_x(image, magnitude)
        case "color":
            return ImageEnhance.Color(image).enhance(1.0 + magnitude)
        case "contrast":
            return _contrast(image, 1.0 + magnitude)
        case "sharpness":
            return ImageEnhance.Sharpness(image).enhance(1.0 + magnitude)
        case _:
            raise ValueError(f"no operation {name}")


# ImageOps computes the same tables in Python loops over 768 entries, which takes longer than all else on a
# small image; here they are computed at once, or once.


def _by_table(image: Image.Image, table: bytes) -> Image.Image:
    """Every byte of the image looked up in one table of 256."""
    return Image.frombytes("RGB", image.size, image.tobytes().translate(table))


def _by_tables(image: Image.Image, table_C256: Bytes) -> Image.Image:
    """Every channel looked up in its own table."""
    bands = [
        Image.frombytes("L", image.size, band.tobytes().translate(table.tobytes()))
        for band, table in zip(image.split(), table_C256, strict=True)
    ]
    return Image.merge("RGB", bands)


def _histogram(image: Image.Image) -> Counts:
    """How many pixels of each level, [C, 256]."""
    return np.array(image.histogram(), dtype=np.int64).reshape(3, 256)


@lru_cache(maxsize=8)
def posterize_table(num_bits: int) -> bytes:
    """Keeps the upper `num_bits` of a level."""
    return bytes(level & ~(2 ** (8 - num_bits) - 1) for level in range(256))


@lru_cache(maxsize=_NUM_BINS)
def solarize_table(threshold: float) -> bytes:
    """Inverts levels from the threshold on."""
    return bytes(level if level < threshold else 255 - level for level in range(256))


def _auto_contrast_tables(histogram_C256: Counts) -> Bytes:
    """Stretches each channel from its darkest and lightest level to 0 and 255; Pillow's float arithmetic."""
    is_used_C256 = histogram_C256 > 0
    low_C1 = is_used_C256.argmax(axis=1, keepdims=True)
    high_C1 = 255 - is_used_C256[:, ::-1].argmax(axis=1, keepdims=True)
    scale_C1 = 255.0 / np.maximum(high_C1 - low_C1, 1)
    stretched_C256 = (_LEVELS * scale_C1 + -low_C1 * scale_C1).astype(np.int64)
    table_C256 = np.where(high_C1 > low_C1, np.minimum(np.maximum(stretched_C256, 0), 255), _LEVELS)
    return table_C256.astype(np.uint8)


def _equalize_tables(histogram_C256: Counts) -> Bytes:
    """Spreads each channel's levels evenly; a channel of one level, or of too few pixels, stays."""
    total_C256 = histogram_C256.cumsum(axis=1)
    # Up to the lightest level the running total is short of all pixels: what is not of that level.
    num_pixels = int(total_C256[0, -1])
    darker_C1 = np.where(total_C256 < num_pixels, total_C256, 0).max(axis=1, keepdims=True)
    step_C1 = darker_C1 // 255
    before_C256 = total_C256 - histogram_C256
    spread_C256 = (step_C1 // 2 + before_C256) // np.maximum(step_C1, 1)
    return np.where(step_C1 > 0, np.minimum(spread_C256, 255), _LEVELS).astype(np.uint8)


def _contrast(image: Image.Image, factor: float) -> Image.Image:
    """Blend with the mean grey level, rounded, as `ImageEnhance.Contrast` does."""
    grey = np.asarray(image.convert("L"))
    mean = int(int(grey.sum()) / grey.size + 0.5)
    return Image.blend(Image.new("RGB", image.size, (mean, mean, mean)), image, factor)


def _shear_x(image: Image.Image, level: float) -> Image.Image:
    """Shear about the upper left corner; the tangent goes through degrees and back, as in torchvision."""
    tangent = math.tan(math.radians(math.degrees(math.atan(level))))
    matrix = (1.0, tangent, 0.0, 0.0, 1.0, 0.0)
    return image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.NEAREST)
