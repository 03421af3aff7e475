"""What a scan costs, in passes of the image tower: one image forward and backward; forward alone is a third.

The same sums as the library's own (`sanitizer.scans`), which no service reaches: a test compares the two.
"""

from __future__ import annotations

import math

from cleanclip.spec.scan_options import CollapseDetectorOptions, EaseDetectorOptions, ScanOptions


def num_passes(options: ScanOptions, num_classes: int | None, num_labelled: int | None) -> int | None:
    """None: that depends on how many classes or images there are."""
    if num_labelled is None or ("ease" in options.detectors and num_classes is None):
        return None
    held_out = min(options.num_held_out, num_labelled - num_labelled // 3)
    thirds = held_out
    if "collapse" in options.detectors:
        thirds += len(options.collapse.families) * _collapse(options.collapse, held_out)
    if "ease" in options.detectors:
        thirds += len(options.ease.families) * _ease(options.ease, num_classes or 0, held_out)
    return math.ceil(thirds / 3)


def _collapse(options: CollapseDetectorOptions, held_out: int) -> int:
    inverting = 3 * options.restarts * options.images_per_step * options.steps[-1]
    return inverting + options.restarts * held_out * len(options.steps)


def _ease(options: EaseDetectorOptions, num_classes: int, held_out: int) -> int:
    """Classes race: fewer of them go on in each heat, those of the last from several starts."""
    measured_on = min(options.held_out_images, held_out)
    measured_at = {*options.steps, *(heat.steps for heat in options.heats)}
    left, done, thirds = num_classes, 0, 0
    for heat in options.heats:
        if done:  # the first heat has all classes
            left = max(1, min(heat.most, math.ceil(heat.share * left)))
        num_measured = sum(done < step <= heat.steps for step in measured_at)
        thirds += left * (3 * options.images_per_step * (heat.steps - done) + num_measured * measured_on)
        done = heat.steps
    again = 3 * options.images_per_step * done + len(measured_at) * measured_on
    return thirds + (options.restarts - 1) * left * again
