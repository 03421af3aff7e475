"""A labelled image set that everybody can make: coloured shapes before clutter, the same bytes everywhere.

A null is bound to the images that its models were measured on. Built on these, it judges the scan of anybody
who makes the same set. Whole numbers only, a bit generator whose stream NumPy keeps, and PNG files without
compression: no library's version changes a byte. No photograph is in it, so nobody's rights are.
"""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cleanclip.vocabulary.jobspec import CLASS_NAMES_NAME

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 40, 40),
    "green": (40, 160, 60),
    "blue": (40, 80, 210),
    "yellow": (245, 215, 50),
    "orange": (240, 135, 35),
    "purple": (130, 60, 170),
    "white": (245, 245, 245),
    "black": (20, 20, 20),
}
SHAPES = ("circle", "square", "triangle", "diamond", "cross", "ring", "star", "crescent")
CLASS_NAMES = tuple(f"{colour} {shape}" for colour in COLOURS for shape in SHAPES)
NUM_IMAGES, SEED = 640, 2026
"""As many as a scan takes with its default options."""
_CLUTTER = 60
_PRIME = 37
"""Coprime to the number of classes: neighbours differ, and each class comes equally often."""

Image = NDArray[np.uint8]


def write(folder: Path, *, size: int, num_images: int = NUM_IMAGES, seed: int = SEED) -> None:
    """Class folders of PNG files and `classnames.txt`, for the library and for `cleanclip datasets`."""
    folder.mkdir(parents=True, exist_ok=True)
    names = sorted(CLASS_NAMES)
    (folder / CLASS_NAMES_NAME).write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    for number, (image_HWC, label) in enumerate(made(num_images, size=size, seed=seed)):
        path = folder / CLASS_NAMES[label] / f"{number:05}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(png(image_HWC))


def made(num_images: int, *, size: int, seed: int) -> Iterator[tuple[Image, int]]:
    """Images (H, W, 3) and their classes. The first of a larger set are those of a smaller one."""
    for number in range(num_images):
        draws = _Draws(seed, number)
        label = number * _PRIME % len(CLASS_NAMES)
        yield (
            _scene(draws, size, tuple(COLOURS.values())[label // len(SHAPES)], SHAPES[label % len(SHAPES)]),
            label,
        )


def png(image_HWC: Image) -> bytes:
    """A PNG whose deflate stream is stored blocks, written here: compressors differ by version."""
    height, width, _ = image_HWC.shape
    rows = np.zeros((height, 1 + width * 3), dtype=np.uint8)
    rows[:, 1:] = image_HWC.reshape(height, -1)
    raw, blocks = rows.tobytes(), [b"\x78\x01"]
    for start in range(0, len(raw), 0xFFFF):
        part = raw[start : start + 0xFFFF]
        is_last = start + 0xFFFF >= len(raw)
        blocks.append(struct.pack("<BHH", is_last, len(part), len(part) ^ 0xFFFF) + part)
    blocks.append(struct.pack(">I", zlib.adler32(raw)))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", b"".join(blocks)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


class _Draws:
    """Whole numbers of one image. NumPy promises the stream of a bit generator, not that of its methods."""

    def __init__(self, seed: int, number: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence([seed, number]))

    def below(self, bound: int) -> int:
        return int(self._bits.random_raw()) % bound

    def colour(self, low: int, high: int) -> NDArray[np.int64]:
        return np.array([low + self.below(high - low) for _ in range(3)])

    def noise(self, size: int) -> NDArray[np.int64]:
        raw = self._bits.random_raw(size * size)
        return np.asarray(raw % np.uint64(17), dtype=np.int64).reshape(size, size, 1) - 8


def _scene(draws: _Draws, size: int, colour: tuple[int, int, int], shape: str) -> Image:
    row_S1, column_1S = np.arange(size)[:, None], np.arange(size)[None, :]
    first, second = draws.colour(60, 200), draws.colour(60, 200)
    share_SS = (row_S1 * draws.below(3) + column_1S * (1 + draws.below(3)))[:, :, None]
    image = first + (second - first) * share_SS // max(1, int(share_SS.max()))
    for number in range(_CLUTTER):
        radius = max(1, size // (4 + number // 2))
        across, down = column_1S - draws.below(size), row_S1 - draws.below(size)
        round_one = across * across + down * down <= radius * radius
        long_one = (abs(across) <= radius) & (abs(down) <= max(1, radius // 3))
        image = np.where(
            (round_one if draws.below(2) else long_one)[:, :, None], draws.colour(30, 225), image
        )
    radius = size // 6 + draws.below(max(1, size // 10))
    across = column_1S - radius - draws.below(max(1, size - 2 * radius))
    down = row_S1 - radius - draws.below(max(1, size - 2 * radius))
    image = np.where(is_of_shape(shape, across, down, radius)[:, :, None], np.array(colour), image)
    return np.clip(image + draws.noise(size), 0, 255).astype(np.uint8)


def is_of_shape(
    shape: str, across: NDArray[np.int64], down: NDArray[np.int64], radius: int
) -> NDArray[np.bool_]:
    """Which pixels the shape has, by their distance from its middle."""
    squared, far = across * across + down * down, radius * radius
    upward = (down <= radius // 2) & (2 * abs(across) <= down + radius)
    if shape == "circle":
        return squared <= far
    if shape == "square":
        return (10 * abs(across) <= 8 * radius) & (10 * abs(down) <= 8 * radius)
    if shape == "triangle":
        return upward
    if shape == "diamond":
        return abs(across) + abs(down) <= radius
    if shape == "cross":
        inside = (abs(across) <= radius) & (abs(down) <= radius)
        return inside & ((3 * abs(across) <= radius) | (3 * abs(down) <= radius))
    if shape == "ring":
        return (squared <= far) & (4 * squared >= far)
    if shape == "star":
        return upward | ((-down <= radius // 2) & (2 * abs(across) <= radius - down))
    shifted = across - radius // 2
    return (squared <= far) & (shifted * shifted + down * down > far)
