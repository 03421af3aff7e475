"""From a family's options to the map of pixels that it is. Knows no model."""

from __future__ import annotations

from typing import assert_never

from cleanclip.spec.scan_options import PatternFamily
from sanitizer.perturbations.additive import Additive, LowFrequency
from sanitizer.perturbations.families import Blend, Colour, Family, Patch, Warp
from sanitizer.seeding import generator


def build(options: PatternFamily, image_size: int, *, seed: int, number: int = 0) -> Family:
    """For images of this side. A fixed place is drawn by (seed, number), so each restart has another."""
    match options.family:
        case "patch":
            at = None
            if options.placement == "fixed":
                row, column = generator(seed, "scan_fixed_place", number).random(2)
                at = (float(row), float(column))
            return Patch(max(1, round(options.budget * image_size)), at)
        case "additive":
            return Additive(options.budget)
        case "dct":
            return LowFrequency(options.budget, num_cosines=min(8, image_size))
        case "blend":
            return Blend(options.budget)
        case "warp":
            return Warp(options.budget)
        case "colour":
            return Colour(options.budget)
    assert_never(options.family)
