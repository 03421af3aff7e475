"""The side of a model's square image, and how an image of any shape becomes one. Free of torch."""

from __future__ import annotations


class ImageSide(int):
    """Pixels. `is_squashed`: height and width are each resized to it, as SigLIP was trained; else the shorter
    side is, and the middle is cut out, as for CLIP. `is_bilinear`: the resizing, else bicubic."""

    is_squashed: bool
    is_bilinear: bool

    def __new__(cls, pixels: int, is_squashed: bool = False, is_bilinear: bool = False) -> ImageSide:
        side = super().__new__(cls, pixels)
        side.is_squashed, side.is_bilinear = is_squashed, is_bilinear
        return side
