"""The side of a model's square image, and how an image of any shape becomes one. Free of torch."""

from __future__ import annotations


class ImageSide(int):
    """Pixels. `is_squashed`: height and width are each resized to it, as SigLIP was trained; else the shorter
    side is, and the middle is cut out, as for CLIP."""

    is_squashed: bool

    def __new__(cls, pixels: int, is_squashed: bool = False) -> ImageSide:
        side = super().__new__(cls, pixels)
        side.is_squashed = is_squashed
        return side
