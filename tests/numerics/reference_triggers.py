"""The triggers, written a second time in loops over pixels and float64; nothing is imported from the library.

An image is an array [3, H, W] of float64 in [0, 1]. Random numbers are drawn from the streams that
sanitizer/attacks/trigger.py documents, derived here once more.
"""

import math
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def stream(seed: int, name: str, *indices: int) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(name.encode()), *indices])


def clip(value: float) -> float:
    return min(1.0, max(0.0, value))


def trigger(image: Array, index: int, options: dict[str, Any], seed: int) -> Array:
    """The triggered image, for options as they stand in a report."""
    attack = options["attack"]
    if attack in ("badnet", "label_consistent"):
        return badnet(image, index, options, seed)
    return {"blended": blended, "wanet": wanet, "sig": sig}[attack](image, index, options, seed)


def badnet(image: Array, index: int, options: dict[str, Any], seed: int) -> Array:
    channels, height, width = image.shape
    p = max(1, round(options["size"] * min(height, width)))
    pattern, placement = options["pattern"], options["placement"]
    patch = np.zeros((channels, p, p))
    if pattern.startswith("gaussian"):
        source = (
            stream(options["pattern_seed"], "badnet_pattern")
            if pattern == "gaussian_fixed"
            else stream(seed, "badnet_noise", index)
        )
        noise = source.standard_normal((channels, p, p))
        for c in range(channels):
            mean = math.fsum(image[c].ravel().tolist()) / (height * width)
            for i in range(p):
                for j in range(p):
                    patch[c, i, j] = clip(mean + noise[c, i, j])
    if pattern.startswith("stripes"):
        source = (
            stream(options["pattern_seed"], "badnet_stripes_pattern")
            if pattern == "stripes_fixed"
            else stream(seed, "badnet_stripes", index)
        )
        drawn = source.integers(0, 2, (channels, p))
        for c in range(channels):
            for i in range(p):
                for j in range(p):
                    patch[c, i, j] = clip(-1.0 if drawn[c, j] == 0 else 1.0)
    for c in range(channels):
        for i in range(p):
            for j in range(p):
                if pattern == "white" or (pattern == "yellow" and c < 2):
                    patch[c, i, j] = 1.0
                if pattern == "checkerboard" and i % 2 == 0 and j % 2 == 0:
                    patch[c, i, j] = 1.0
    bottom, right = height - p, width - p
    result = image.copy()
    for top, left in corners(placement, bottom, right, stream(seed, "badnet_place", index)):
        for c in range(channels):
            for i in range(p):
                for j in range(p):
                    result[c, top + i, left + j] = patch[c, i, j]
    return result


def corners(placement: str, bottom: int, right: int, source: np.random.Generator) -> list[tuple[int, int]]:
    if placement == "random":
        top = int(source.integers(0, bottom + 1))
        left = int(source.integers(0, right + 1))
        return [(top, left)]
    if placement == "random_inner":  # random.randint(0, H - p - 1) of research code, both ends included
        top = int(source.integers(0, max(bottom, 1)))
        left = int(source.integers(0, max(right, 1)))
        return [(top, left)]
    if placement == "four_corners":
        return [(0, 0), (0, right), (bottom, 0), (bottom, right)]
    if placement == "centre":
        return [(bottom // 2, right // 2)]
    return [(bottom if "bottom" in placement else 0, right if "right" in placement else 0)]


def blended(image: Array, index: int, options: dict[str, Any], seed: int) -> Array:
    noise, alpha = blended_noise(image.shape, index, options, seed), options["alpha"]
    result = np.empty_like(image)
    for place in np.ndindex(*image.shape):
        result[place] = clip((1 - alpha) * image[place] + alpha * noise[place])
    return result


def blended_noise(shape: tuple[int, ...], index: int, options: dict[str, Any], seed: int) -> Array:
    channels, height, width = shape
    pattern, secret = options["pattern"], options["pattern_seed"]
    if pattern == "uniform_fixed":
        return stream(secret, "blended_pattern").random(shape)
    if pattern == "uniform_redrawn":
        return stream(seed, "blended_noise", index).random(shape)
    noise = np.empty(shape)
    if pattern == "triangles":
        cell = max(1, round(options["cell"] * min(height, width)))
        for c, i, j in np.ndindex(*shape):
            noise[c, i, j] = 0.4 if i % cell >= j % cell else 0.8
        return noise
    fixed = pattern == "stripes_fixed"
    source = stream(secret, "blended_stripes_pattern") if fixed else stream(seed, "blended_stripes", index)
    drawn = source.integers(0, 2, (channels, width))
    for c, i, j in np.ndindex(*shape):
        noise[c, i, j] = 1.0 if drawn[c, j] else -1.0
    return noise


def sig(image: Array, index: int, options: dict[str, Any], seed: int) -> Array:
    width, blend = image.shape[2], options["blend"]
    result = np.empty_like(image)
    for place in np.ndindex(*image.shape):
        x = float(image[place])
        wave = options["amplitude"] * math.sin(2 * math.pi * place[2] * options["frequency"] / width)
        striped = clip(x + wave)
        result[place] = striped if blend is None else (1 - blend) * x + blend * striped
    return result


def wanet(image: Array, index: int, options: dict[str, Any], seed: int) -> Array:
    """Bilinear reading at every point of the grid; outside the image there is black."""
    _, height, width = image.shape
    grid = wanet_grid(options, height, width)
    result = np.zeros_like(image)
    for i in range(height):
        for j in range(width):
            x = (grid[i, j, 0] + 1) / 2 * (width - 1)
            y = (grid[i, j, 1] + 1) / 2 * (height - 1)
            for row in (math.floor(y), math.floor(y) + 1):
                for column in (math.floor(x), math.floor(x) + 1):
                    if 0 <= row < height and 0 <= column < width:
                        weight = (1 - abs(y - row)) * (1 - abs(x - column))
                        result[:, i, j] += weight * image[:, row, column]
    return np.clip(result, 0, 1)


_grids: dict[tuple[Any, ...], Array] = {}


def wanet_grid(options: dict[str, Any], height: int, width: int) -> Array:
    """[H, W, 2]: (x, y) in [-1, 1] that each pixel of the warped image is read from."""
    key = (*sorted(options.items()), height, width)
    if key not in _grids:
        _grids[key] = _wanet_grid(options, height, width)
    return _grids[key]


def _wanet_grid(options: dict[str, Any], height: int, width: int) -> Array:
    k = options["control_points"]
    rows, columns = (k, k) if k else (height, width)
    offset = stream(options["pattern_seed"], "wanet_grid").uniform(-1, 1, (2, rows, columns))
    mean = math.fsum(abs(value) for value in offset.ravel().tolist()) / offset.size
    grid = np.empty((height, width, 2))
    for i in range(height):
        for j in range(width):
            at_row = i * (rows - 1) / (height - 1)
            at_column = j * (columns - 1) / (width - 1)
            for axis, side in ((0, width), (1, height)):
                identity = -1 + 2 * (j if axis == 0 else i) / (side - 1)
                shift = bicubic(offset[axis] / mean, at_row, at_column)
                moved = (identity + options["strength"] * shift / side) * options["grid_rescale"]
                grid[i, j, axis] = min(1.0, max(-1.0, moved))
    return grid


def bicubic(table: Array, row: float, column: float) -> float:
    """Cubic convolution (Keys 1981, a = -0.75 as torch has it); beyond the edge the edge is repeated."""
    total = 0.0
    for i in range(math.floor(row) - 1, math.floor(row) + 3):
        for j in range(math.floor(column) - 1, math.floor(column) + 3):
            value = table[min(max(i, 0), table.shape[0] - 1), min(max(j, 0), table.shape[1] - 1)]
            total += cubic(row - i) * cubic(column - j) * value
    return float(total)


def cubic(distance: float, a: float = -0.75) -> float:
    t = abs(distance)
    if t <= 1:
        return (a + 2) * t**3 - (a + 3) * t**2 + 1
    if t < 2:
        return a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a
    return 0.0
