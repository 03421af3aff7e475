"""What a scan costs, in thirds of a pass of an image tower: one image forward and backward is three of them,
forward alone is one. Sums over options: a dry run and the scan itself count by the same ones.
"""

from __future__ import annotations

import math

from cleanclip.spec.scan_options import (
    MIN_IMAGES,
    CollapseDetectorOptions,
    EaseDetectorOptions,
    EditsDetectorOptions,
    ResidualDetectorOptions,
    ScanOptions,
)

NUM_EDITS = 235
"""Of the bank of `edits` and `residual`, without "none"."""


def cost_thirds(
    options: ScanOptions,
    *,
    num_held_out: int,
    num_classes: int,
    num_images: int = 0,
    has_anchor: bool = False,
) -> int:
    """Of all detectors; the clean passes over the images are among them.

    `num_images` to invert on: they cost something with an anchor only.
    """
    thirds = num_held_out
    if has_anchor and options.uses_anchor:
        thirds += num_images + num_held_out
    if "collapse" in options.detectors:
        thirds += len(options.collapse.families) * of_collapse(options.collapse, num_held_out)
    if "edits" in options.detectors:
        thirds += of_edits(options.edits, num_held_out)
    if "ease" in options.detectors:
        each = of_ease(options.ease, num_classes, num_held_out, has_anchor=has_anchor)
        thirds += len(options.ease.families) * each
    if "residual" in options.detectors:
        thirds += of_residual(options.residual, num_images, num_held_out)
    return thirds


def num_passes(
    options: ScanOptions, num_classes: int | None, num_labelled: int | None, *, has_anchor: bool = False
) -> int | None:
    """Of a set whose images are not drawn yet. None: that depends on how many classes or images there are."""
    if num_labelled is None or ("ease" in options.detectors and num_classes is None):
        return None
    num_drawn = min(num_labelled, options.num_images + options.num_held_out)
    is_small = num_drawn < options.num_images + options.num_held_out
    num_images = max(MIN_IMAGES, num_drawn // 3) if is_small else options.num_images
    thirds = cost_thirds(
        options,
        num_held_out=max(0, num_drawn - num_images),
        num_classes=num_classes or 0,
        num_images=num_images,
        has_anchor=has_anchor,
    )
    return math.ceil(thirds / 3)


def of_collapse(options: CollapseDetectorOptions, num_held_out: int) -> int:
    """Of one family."""
    inverting = 3 * options.restarts * options.images_per_step * options.steps[-1]
    return inverting + options.restarts * num_held_out * len(options.steps)


def of_edits(options: EditsDetectorOptions, num_held_out: int) -> int:
    """Forward alone."""
    return NUM_EDITS * min(options.held_out_images, num_held_out)


def of_ease(
    options: EaseDetectorOptions, num_classes: int, num_held_out: int, *, has_anchor: bool = False
) -> int:
    """Of one family, of either tower: classes race, and those of the last heat run from several starts."""
    held_out = min(options.held_out_images, num_held_out)
    step = 3 * options.images_per_step * (1 + sees_anchor(options, has_anchor=has_anchor))
    left, done, thirds = num_classes, 0, 0
    for heat in options.heats:
        left = survivors(left, heat.share, heat.most) if done else left  # the first heat has all classes
        measured = sum(done < step <= heat.steps for step in measured_at(options))
        thirds += left * (step * (heat.steps - done) + measured * held_out)
        done = heat.steps
    again = step * done + len(measured_at(options)) * held_out
    return thirds + (options.restarts - 1) * left * again


def survivors(left: int, share: float, most: int) -> int:
    """How many of `left` classes go into a heat."""
    return max(1, min(most, math.ceil(share * left)))


def sees_anchor(options: EaseDetectorOptions, *, has_anchor: bool) -> bool:
    """Whether patterns are shown to the anchor, too."""
    return has_anchor and options.anchor_weight > 0


def measured_at(options: EaseDetectorOptions) -> list[int]:
    """The steps of E and the end of each heat, where it is decided which classes stay."""
    return sorted({*options.steps, *(heat.steps for heat in options.heats)})


def of_residual(options: ResidualDetectorOptions, num_images: int, num_held_out: int) -> int:
    """Of either tower. What the anchor says of clean images is not among them."""
    return num_images + 2 * NUM_EDITS * min(options.held_out_images, num_held_out)
