"""What a scan costs, in thirds of a pass of an image tower: one image forward and backward is three of them,
forward alone is one. Sums over options: a dry run and the scan itself count by the same ones.
"""

import math
from collections.abc import Sequence

from cleanclip.vocabulary.scan_options import (
    MIN_IMAGES,
    CollapseDetectorOptions,
    EditsDetectorOptions,
    ResidualDetectorOptions,
    ScanOptions,
)

NUM_EDITS = 235
"""Of the bank of `edits` and `residual`, without "none"."""
WORDS_OF_A_SCAN = 20_000
"""That it names targets by: each is a text to embed."""


def cost_thirds(options: ScanOptions, *, num_held_out: int, num_images: int = 0) -> int:
    """Of all detectors; the clean passes over the images are among them, also those of an anchor.

    `num_images` to invert on: they cost something with `residual` only.
    """
    thirds = num_held_out
    if "collapse" in options.detectors:
        thirds += len(options.collapse.families) * of_collapse(options.collapse, num_held_out)
    if "edits" in options.detectors:
        thirds += of_edits(options.edits, num_held_out)
    if "residual" in options.detectors:
        clean_anchor = num_images + num_held_out
        thirds += clean_anchor + of_residual(options.residual, num_images, num_held_out)
    return thirds


def num_passes(options: ScanOptions, num_labelled: int | None) -> int | None:
    """Of a set whose images are not drawn yet. None: it is not known how many images there are."""
    if num_labelled is None:
        return None
    num_images, num_held_out = drawn(options, num_labelled)
    return math.ceil(cost_thirds(options, num_held_out=num_held_out, num_images=num_images) / 3)


def thirds_of_searches(searches: Sequence[CollapseDetectorOptions], num_held_out: int) -> int:
    """Of cleaned weights; the clean pass over the images is among them."""
    return num_held_out + sum(len(one.families) * of_collapse(one, num_held_out) for one in searches)


def passes_of_searches(searches: Sequence[CollapseDetectorOptions], num_labelled: int) -> int:
    """The same of a set whose images are not drawn yet."""
    return math.ceil(thirds_of_searches(searches, drawn(ScanOptions(), num_labelled)[1]) / 3)


def drawn(options: ScanOptions, num_labelled: int) -> tuple[int, int]:
    """How many images are inverted on, and how many are held out."""
    wanted = options.num_images + options.num_held_out
    num_drawn = min(num_labelled, wanted)
    num_images = max(MIN_IMAGES, num_drawn // 3) if num_drawn < wanted else options.num_images
    return num_images, max(0, num_drawn - num_images)


def of_collapse(options: CollapseDetectorOptions, num_held_out: int) -> int:
    """Of one family."""
    inverting = 3 * options.restarts * options.images_per_step * options.steps[-1]
    return inverting + options.restarts * num_held_out * len(options.steps)


def num_ascents(searches: Sequence[CollapseDetectorOptions]) -> int:
    """Images that pass forward and, to their pixels alone, backward: three thirds each, by their time."""
    return sum(len(one.families) * one.restarts * one.images_per_step * one.steps[-1] for one in searches)


def of_edits(options: EditsDetectorOptions, num_held_out: int) -> int:
    """Forward alone."""
    return NUM_EDITS * min(options.held_out_images, num_held_out)


def of_residual(options: ResidualDetectorOptions, num_images: int, num_held_out: int) -> int:
    """Of either tower. What the anchor says of clean images is not among them."""
    return num_images + 2 * NUM_EDITS * min(options.held_out_images, num_held_out)
