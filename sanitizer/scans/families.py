"""From a family's options to the map of pixels that it is."""

from typing import assert_never

import torch

from cleanclip.vocabulary.scan_options import PatternFamily
from sanitizer.perturbations.additive import Additive, LowFrequency
from sanitizer.perturbations.families import Blend, Colour, Family, Patch, Warp
from sanitizer.seeding import generator


def build(
    options: PatternFamily, image_size: int, *, seed: int, number: int = 0, spreads: bool = False
) -> Family:
    """For images of this side. A fixed place is drawn by (seed, number), so each restart has another. Where
    it `spreads`, the places of one seed lie apart from each other: they are a scrambled Sobol sequence."""
    match options.family:
        case "patch":
            at = None
            if options.placement == "fixed":
                at = _spread_place(seed, number) if spreads else _place(seed, number)
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


def _place(seed: int, number: int) -> tuple[float, float]:
    row, column = generator(seed, "scan_fixed_place", number).random(2)
    return float(row), float(column)


def _spread_place(seed: int, number: int) -> tuple[float, float]:
    scrambling = int(generator(seed, "scan_spread_places").integers(2**31))
    sequence = torch.quasirandom.SobolEngine(2, scramble=True, seed=scrambling)  # type: ignore[no-untyped-call]
    row, column = sequence.fast_forward(number).draw()[0].tolist()  # type: ignore[no-untyped-call]
    return row, column
