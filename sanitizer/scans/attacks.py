"""From a pattern that was inverted to the pixels of the attack that it is (`vocabulary.found_triggers`),
and to an image that a page can show.

An image file rounds a pattern to 8 bits, and one that does not fit into `MAX_PATTERN_BYTES` gets fewer
shades. So figures of an attack are measured on the attack, not on the pattern.
"""

import base64
from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from cleanclip.vocabulary.image_edits import Edit
from cleanclip.vocabulary.plain_images import MAX_PATTERN_BYTES, MAX_SIDE, write_pattern
from sanitizer.perturbations.additive import Additive, LowFrequency
from sanitizer.perturbations.families import Blend, Colour, Patch, Warp
from sanitizer.perturbations.patterns import Pattern
from sanitizer.scans import image_edits

_SHADES = (256, 128, 64, 32, 16, 8, 4)


def as_file(pattern: Pattern | Edit, image_size: int) -> str | None:
    """The pixels of which its attack is made, for images of this side. None where there are none."""
    if isinstance(pattern, Edit) or isinstance(pattern.family, Warp | Colour):
        return None
    if isinstance(pattern.family, Additive | LowFrequency):
        return packed(0.5 + added(pattern, image_size) / min(1.0, 2 * pattern.family.epsilon))
    return packed(pattern.value)


def place_of(pattern: Pattern | Edit, image_size: int) -> tuple[float, float] | None:
    """Of a patch at one place. A place as an overlay reads it: it rounds to a pixel, a patch of ours rounds
    down."""
    if isinstance(pattern, Edit) or not isinstance(pattern.family, Patch) or pattern.family.at is None:
        return None
    room = image_size - pattern.family.side
    row, column = (min(int(share * (room + 1)), room) / room if room else 0.0 for share in pattern.family.at)
    return row, column


def added(pattern: Pattern, image_size: int) -> Tensor:
    """[3, H, W]: what an additive pattern adds, within ± its budget."""
    family = pattern.family
    if isinstance(family, LowFrequency):
        return family.change(pattern.value[None], image_size)[0]
    assert isinstance(family, Additive)
    return family.epsilon * (2 * pattern.value - 1)


def shown(pattern: Pattern | Edit, image_size: int, example_CHW: Tensor) -> Tensor:
    """[3, S, S] in [0, 1], for people: the pattern, what it adds to grey at full contrast, or, of a warp, a
    colour and an edit, what it makes of an example."""
    if isinstance(pattern, Edit):
        return image_edits.apply(pattern, example_CHW[None])[0]
    family = pattern.family
    if isinstance(family, Additive | LowFrequency):
        return 0.5 + added(pattern, image_size) / (2 * family.epsilon)
    if isinstance(family, Patch | Blend):
        return pattern.value
    place_12 = torch.full((1, 2), 0.5, dtype=torch.float64)
    return family.apply(example_CHW[None], pattern.value[None], place_12)[0]


def packed(image_CHW: Tensor) -> str:
    """The image in [0, 1] as `vocabulary.plain_images.write_pattern` makes it, in base64; of fewer shades
    where it would be too large: eight fit nearly always, four do."""
    pixels_HWC = (image_CHW.detach().float().cpu() * 255).round().clamp(0, 255).byte().permute(1, 2, 0)
    if len(pixels_HWC) > MAX_SIDE:
        image = Image.fromarray(pixels_HWC.numpy()).resize((MAX_SIDE,) * 2, Image.Resampling.LANCZOS)
        pixels_HWC = torch.from_numpy(np.array(image))
    return base64.b64encode(next(filter(_fits, _files(pixels_HWC)))).decode("ascii")


def _fits(file: bytes) -> bool:
    return len(file) <= MAX_PATTERN_BYTES


def _files(pixels_HWC: Tensor) -> Iterator[bytes]:
    side = len(pixels_HWC)
    for shades in _SHADES:
        step = 255 / (shades - 1)
        rounded_HWC = ((pixels_HWC / step).round() * step).round().byte()
        rows_H = functional.pad(rounded_HWC.reshape(side, -1), (1, 0))
        yield write_pattern(side, rows_H.numpy().tobytes())
