"""From a pattern that was inverted to a trigger that an audit can use, and to an image that a page can show.

    patch              custom_patch: the square itself, at random places or at its one place
    blend              custom_pattern: the whole image, at the same alpha
    additive, dct      custom_pattern with alpha 2ε: (1 − 2ε)x + 2ε(½ + δ/2ε) = x + δ + 2ε(½ − x), so that
                       contrast falls a little: no pixel changes by more than ε for it
    warp, colour       no image can hold them: None
    edits              custom_pattern, text_trigger, sig or none: `image_edits.as_attack`

An image file rounds a pattern to 8 bits, and one that does not fit `MAX_TRIGGER_IMAGE_BYTES` is compressed.
So figures of an attack are measured on the attack, not on the pattern. Knows no model.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator

import torch
from PIL import Image
from torch import Tensor

from cleanclip.spec.attack_options import (
    MAX_TRIGGER_IMAGE_BYTES,
    MAX_TRIGGER_IMAGE_SIDE,
    CustomPatchOptions,
    CustomPatternOptions,
)
from cleanclip.spec.image_edits import Edit
from sanitizer.perturbations.additive import Additive, LowFrequency
from sanitizer.perturbations.blend import Blend
from sanitizer.perturbations.patch import Patch
from sanitizer.perturbations.patterns import Pattern
from sanitizer.scans import image_edits

FoundAttack = CustomPatchOptions | image_edits.EditAttack
_QUALITIES = (95, 90, 80, 70, 55, 40, 25)


def as_attack(pattern: Pattern | Edit, image_size: int, target: str | None) -> FoundAttack | None:
    """For images of this side. None where no attack does the same."""
    if isinstance(pattern, Edit):
        return image_edits.as_attack(pattern, target)
    match pattern.family:
        case Patch(side=side, at=at):
            return CustomPatchOptions(
                image=packed(pattern.value),
                size=side / image_size,
                at=None if at is None else _as_shares(at, image_size - side),
                target=target,
            )
        case Additive(epsilon=epsilon) | LowFrequency(epsilon=epsilon):
            alpha = min(1.0, 2 * epsilon)
            image_CHW = 0.5 + added(pattern, image_size) / alpha
            return CustomPatternOptions(image=packed(image_CHW), alpha=alpha, target=target)
        case Blend(alpha=alpha):
            return CustomPatternOptions(image=packed(pattern.value), alpha=alpha, target=target)
    return None


def _as_shares(at: tuple[float, float], room: int) -> tuple[float, float]:
    """Places as an overlay reads them: it rounds to a pixel, a patch of ours rounds down."""
    row, column = (min(int(share * (room + 1)), room) / room if room else 0.0 for share in at)
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
    """The image in [0, 1] as a file in base64: PNG, else the best JPEG that fits."""
    pixels_HWC = (image_CHW.detach().float().cpu() * 255).round().clamp(0, 255).byte().permute(1, 2, 0)
    image = Image.fromarray(pixels_HWC.numpy())
    if max(image.size) > MAX_TRIGGER_IMAGE_SIDE:
        image = image.resize((MAX_TRIGGER_IMAGE_SIDE,) * 2, Image.Resampling.LANCZOS)
    data = next(file for file in _files(image) if len(file) <= MAX_TRIGGER_IMAGE_BYTES)
    return base64.b64encode(data).decode("ascii")


def _files(image: Image.Image) -> Iterator[bytes]:
    yield _file(image, "PNG")
    for quality in _QUALITIES:
        yield _file(image, "JPEG", quality=quality, subsampling=0)


def _file(image: Image.Image, kind: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()
