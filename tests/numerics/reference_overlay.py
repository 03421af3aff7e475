"""Words and customers' images laid on an image, written a second time in loops; see reference_triggers.

What Pillow says a file's pixels are, and how it draws a letter, is taken from Pillow here as there.
"""

import base64
import io
import math
from functools import cache
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tests.numerics import reference_triggers as triggers
from tests.numerics.reference_triggers import Array

OVERLAID = ("text_trigger", "custom_patch", "custom_pattern")


def trigger(image: Array, index: int, options: dict[str, Any], seed: int) -> Array:
    """The triggered image, for options as they stand in a report, whatever the attack."""
    if options["attack"] in OVERLAID:
        return overlay(image, index, options, seed)
    return triggers.trigger(image, index, options, seed)


def overlay(image: Array, index: int, options: dict[str, Any], seed: int) -> Array:
    _, height, width = image.shape
    source = words(options["text"], options["colour"]) if "text" in options else file(options["image"])
    rows, columns = len(source[0]), len(source[0][0])
    if options["attack"] == "custom_pattern":
        p, q = height, width
    else:
        side = max(1, round(options["size"] * min(height, width)))
        p = max(1, round(side * rows / max(rows, columns)))
        q = max(1, round(side * columns / max(rows, columns)))
    laid = np.zeros((4, p, q))
    for i in range(p):
        for j in range(q):
            for row, vertical in weights(i, rows, p):
                for column, horizontal in weights(j, columns, q):
                    laid[:, i, j] += vertical * horizontal * source[:, row, column]
    result, alpha = image.copy(), options["alpha"]
    copies = places(options, height - p, width - q, index, seed)
    for i in range(height):
        for j in range(width):
            colour, mask, seen = np.zeros(3), 0.0, 1.0  # from the uppermost copy down
            for top, left in reversed(copies):
                if top <= i < top + p and left <= j < left + q:
                    colour += seen * laid[:3, i - top, j - left]
                    mask += seen * laid[3, i - top, j - left]
                    seen *= 1 - laid[3, i - top, j - left]
            result[:, i, j] = (1 - alpha * mask) * image[:, i, j] + alpha * colour
    return np.clip(result, 0, 1)


def places(options: dict[str, Any], bottom: int, right: int, index: int, seed: int) -> list[tuple[int, int]]:
    if options["attack"] == "custom_pattern":
        return [(0, 0)]
    if options["at"] is not None:
        return [(round(options["at"][0] * bottom), round(options["at"][1] * right))]
    drawn = triggers.stream(seed, "overlay_place", index)
    return triggers.corners(options["placement"], bottom, right, drawn)


def weights(place: int, num_old: int, num_new: int) -> list[tuple[int, float]]:
    """Of which old pixels a new one is made, and by how much: a triangle around its centre."""
    step = num_old / num_new
    reach = max(step, 1.0)
    centre = (place + 0.5) * step
    found = []
    for old in range(num_old):
        height = 1 - abs(old + 0.5 - centre) / reach
        if height > 0:
            found.append((old, height))
    total = math.fsum(height for _, height in found)
    return [(old, height / total) for old, height in found]


@cache
def file(text: str) -> Array:
    """[4, rows, columns]: colours times mask, mask."""
    picture = Image.open(io.BytesIO(base64.b64decode(text))).convert("RGBA")
    result = np.zeros((4, picture.height, picture.width))
    for i in range(picture.height):
        for j in range(picture.width):
            red, green, blue, mask = picture.getpixel((j, i))  # type: ignore[misc]
            opaque = mask / 255
            result[:, i, j] = [red / 255 * opaque, green / 255 * opaque, blue / 255 * opaque, opaque]
    return result


@cache
def words(text: str, colour: str) -> Array:
    font = ImageFont.load_default(64)
    page = Image.new("L", (64 * (len(text) + 2), 192))
    ImageDraw.Draw(page).text((64, 64), text, fill=255, font=font)
    box = page.getbbox()
    assert box is not None
    left, top, right, bottom = box
    shades = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    result = np.zeros((4, bottom - top, right - left))
    for i in range(bottom - top):
        for j in range(right - left):
            ink = page.getpixel((left + j, top + i)) / 255  # type: ignore[operator]
            result[:, i, j] = [shade * ink for shade in (*shades, 1.0)]
    return result
