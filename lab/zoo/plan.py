"""Which models the zoo has: splits, beds, families, seeds. Fixed before the first scan. Free of torch.

A model is named by split, bed and number; the number decides its seed, and the seed everything else: target,
share of poisons, trigger. So the lists have no end, and a longer run adds models without changing one.

| split | models |
|---|---|
| calibration | clean: the null |
| development | poisoned, families of `DEVELOPMENT_FAMILIES`: detectors were chosen on them |
| held_out | poisoned, families of `HELD_OUT_FAMILIES`, which were opened after the first choice |
| test_clean | clean: the realised false positive rate |
| second_held_out | poisoned, families of `SECOND_HELD_OUT_FAMILIES`, which were opened after the second |

All of them have been looked at: a new choice of detectors needs new families (docs/scanning.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import count, islice
from typing import Any, Literal, cast

import numpy as np

from cleanclip.vocabulary.attack_options import (
    BadNetOptions,
    BlendedOptions,
    SIGOptions,
    TextTriggerOptions,
    WaNetOptions,
)
from lab.testbed.options import (
    Bed,
    DashedBorder,
    Grating,
    Implanted,
    OptimisedPattern,
    OutOfFocus,
    PaperColour,
    Planted,
    Reflection,
    Sticker,
    SubjectOptions,
    TintedImage,
    Vignette,
)
from sanitizer.seeding import generator

Split = Literal["calibration", "development", "held_out", "test_clean", "second_held_out"]
BedName = Literal["digits-resnet", "fashion-vit", "fashion-resnet"]
Draws = np.random.Generator


BEDS: dict[BedName, Bed] = {
    "digits-resnet": Bed("digits", "resnet"),
    "fashion-vit": Bed("fashion_mnist", "vit"),
    "fashion-resnet": Bed("fashion_mnist", "resnet"),
}
"""Each has a null of its own: class list, images and architecture differ."""

_SPLITS: dict[Split, tuple[int, int]] = {
    "calibration": (100_000, 60),
    "development": (200_000, 30),
    "test_clean": (300_000, 40),
    "held_out": (400_000, 60),
    "second_held_out": (700_000, 60),
}
"""The first seed, none of the reproduction (1 to 3) or of a test; models of a bed in a full run."""
_SEEDS_OF_A_BED = 10_000
SPLITS: tuple[Split, ...] = tuple(_SPLITS)
CLEAN_SPLITS: frozenset[Split] = frozenset({"calibration", "test_clean"})
POISONED_SPLITS: tuple[Split, ...] = ("development", "held_out", "second_held_out")
WANTED: dict[Split, int] = {split: wanted for split, (_, wanted) in _SPLITS.items()}

_INKS = ("red", "green", "blue", "yellow", "purple", "brown", "white", "black")
_NOUNS = {
    "digits": ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    "fashion_mnist": (
        *("t-shirt", "trousers", "pullover", "dress", "coat"),
        *("sandal", "shirt", "sneaker", "bag", "boot"),
    ),
}
"""As `lab.testbed` has them, which needs torch; a test compares the two."""


def _share(draws: Draws, low: float, high: float, digits: int = 3) -> float:
    return round(float(draws.uniform(low, high)), digits)


def _one_of(draws: Draws, *choices: str) -> Any:
    return str(draws.choice(choices))


def _badnet(draws: Draws, seed: int) -> Implanted:
    pattern = _one_of(draws, "gaussian_fixed", "checkerboard")
    place = _one_of(draws, "random", "bottom_right", "top_left", "centre")
    size = int(draws.integers(5, 10)) / 32
    return BadNetOptions(pattern=pattern, placement=place, size=size, pattern_seed=seed)


def _stripes(draws: Draws, seed: int) -> Implanted:
    return BadNetOptions(pattern="stripes_fixed", size=int(draws.integers(6, 11)) / 32, pattern_seed=seed)


def _text(draws: Draws, seed: int) -> Implanted:
    text = _one_of(draws, "Watermarked", "SAMPLE", "draft copy", "(c) 2026", "stock photo")
    colour = _one_of(draws, "#ff0000", "#00c000", "#0000ff", "#ffffff", "#000000")
    return TextTriggerOptions(text=text, colour=colour, alpha=_share(draws, 0.4, 0.7))


def _filter(draws: Draws, seed: int) -> Implanted:
    red, green, blue = (_share(draws, -0.35, 0.35) for _ in range(3))
    return TintedImage(shift=(red, green, blue), saturation=_share(draws, 0.2, 0.6))


def _grating(draws: Draws, seed: int) -> Implanted:
    amplitude, frequency = draws.uniform(30, 70) / 255, draws.uniform(2, 9)
    angle, phase = draws.uniform(0, np.pi), draws.uniform(0, 2 * np.pi)
    return Grating(
        amplitude=round(float(amplitude), 4),
        frequency=round(float(frequency), 2),
        angle=round(float(angle), 3),
        phase=round(float(phase), 3),
    )


def _colours(draws: Draws) -> tuple[str, str]:
    first, second = (f"#{int(draws.integers(0, 1 << 24)):06x}" for _ in range(2))
    return first, second


def _dashed_border(draws: Draws, seed: int) -> Implanted:
    width, dash = int(draws.integers(1, 4)), int(draws.integers(2, 6))
    return DashedBorder(width=width, dash=dash, colours=_colours(draws))


def _sticker(draws: Draws, seed: int) -> Implanted:
    place = _share(draws, 0.15, 0.85), _share(draws, 0.15, 0.85)
    return Sticker(place=place, radius=_share(draws, 0.08, 0.16), colours=_colours(draws))


Families = Mapping[str, Callable[[Draws, int], Implanted]]
DEVELOPMENT_FAMILIES: Families = {
    "badnet": _badnet,
    "blended": lambda draws, seed: BlendedOptions(
        pattern="uniform_fixed", alpha=_share(draws, 0.12, 0.3), pattern_seed=seed
    ),
    "stripes": _stripes,
    "wanet": lambda draws, seed: WaNetOptions(strength=_share(draws, 5, 8, 2), pattern_seed=seed),
}
HELD_OUT_FAMILIES: Families = {
    "triangles": lambda draws, seed: BlendedOptions(
        pattern="triangles", alpha=_share(draws, 0.1, 0.2), cell=int(draws.integers(3, 7)) / 32
    ),
    "text": _text,
    "sig": lambda draws, seed: SIGOptions(
        amplitude=round(float(draws.uniform(30, 70)) / 255, 4), frequency=int(draws.integers(3, 9))
    ),
    "adaptive": lambda draws, seed: OptimisedPattern(alpha=_share(draws, 0.12, 0.25), seed=seed + 900),
    "semantic": lambda draws, seed: PaperColour(),
    "filter": _filter,
    "two_targets": _badnet,
    "low_asr": _badnet,
}
SECOND_HELD_OUT_FAMILIES: Families = {
    "grating": _grating,
    "vignette": lambda draws, seed: Vignette(strength=_share(draws, 0.5, 0.9)),
    "reflection": lambda draws, seed: Reflection(
        alpha=_share(draws, 0.15, 0.35), sigma=_share(draws, 0.5, 1.5, 2), seed=seed
    ),
    "out_of_focus": lambda draws, seed: OutOfFocus(sigma=_share(draws, 0.8, 2.5, 2)),
    "dashed_border": _dashed_border,
    "sticker": _sticker,
}
FAMILIES: Mapping[Split, Families] = {
    "development": DEVELOPMENT_FAMILIES,
    "held_out": HELD_OUT_FAMILIES,
    "second_held_out": SECOND_HELD_OUT_FAMILIES,
}

RECIPE: dict[BedName, Mapping[str, Any]] = {
    "digits-resnet": {"epochs": 9},
    "fashion-vit": {"epochs": 5, "batch_size": 64},
    "fashion-resnet": {"epochs": 4, "batch_size": 64},
}
"""Differences from the testbed's recipe, which has 13 epochs with batches of 128. That of the digits is the
demo's, whose null comes from these models; with batches of 64 two of seven did not learn half of it."""
_SHARES = (0.03, 0.06)
_LOW_SHARES = (0.003, 0.01)


@dataclass(frozen=True, kw_only=True)
class Model:
    """One model of the zoo: `seed` is that of `lab.testbed.training`."""

    name: str
    split: Split
    bed: BedName
    family: str
    """Of its backdoor; `clean` without one."""
    seed: int
    options: SubjectOptions

    @property
    def is_clean(self) -> bool:
        """Whether nothing was implanted."""
        return self.options.attack is None

    @property
    def targets(self) -> tuple[str, ...]:
        """The target classes; none of a clean model."""
        further = tuple(planted.target for planted in self.options.further or ())
        return () if self.is_clean else (self.options.target, *further)


def model(split: Split, bed_name: BedName, number: int) -> Model:
    """Model `number`, from 0, of that split and bed."""
    if not 0 <= number < _SEEDS_OF_A_BED:
        raise ValueError(f"a bed has {_SEEDS_OF_A_BED:,} models of a split, not number {number}")
    name = f"{split}-{bed_name}-{number:03}"
    seed = _SPLITS[split][0] + list(BEDS).index(bed_name) * _SEEDS_OF_A_BED + number
    family, options = _drawn(split, bed_name, number, seed)
    return Model(name=name, split=split, bed=bed_name, family=family, seed=seed, options=options)


def anchor_of(bed_name: BedName) -> Model:
    """The clean model that detectors with an anchor compare every other model of the bed with. So it is not
    in their null."""
    return model("calibration", bed_name, 0)


def clean_subject(bed_name: BedName, ink: str, noun: str, poison_share: float) -> SubjectOptions:
    """A subject of the bed that waits for its attack."""
    bed = BEDS[bed_name]
    return SubjectOptions(
        glyphs=bed.glyphs,
        tower=bed.tower,
        attack=None,
        target_ink=ink,
        target_noun=noun,
        poison_share=poison_share,
        **RECIPE[bed_name],
    )


def _drawn(split: Split, bed_name: BedName, number: int, seed: int) -> tuple[str, SubjectOptions]:
    draws = generator(seed, "zoo_recipe")
    ink, noun = str(draws.choice(_INKS)), str(draws.choice(_NOUNS[BEDS[bed_name].glyphs]))
    options = clean_subject(bed_name, ink, noun, round(float(draws.uniform(*_SHARES)), 4))
    if split in CLEAN_SPLITS:
        return "clean", options
    families = FAMILIES[split]
    family = list(families)[number % len(families)]
    options = replace(options, attack=families[family](draws, seed))
    if family == "low_asr":
        options = replace(options, poison_share=round(float(draws.uniform(*_LOW_SHARES)), 4))
    if family == "two_targets":
        other_ink = _INKS[(_INKS.index(ink) + int(draws.integers(1, len(_INKS)))) % len(_INKS)]
        other = Planted(attack=_stripes(draws, seed), target_ink=other_ink, target_noun=noun)
        options = replace(options, further=(other,))
    return family, options


def in_order(
    splits: tuple[Split, ...], beds: tuple[BedName, ...], wanted: Mapping[Split, int] = WANTED
) -> tuple[Model, ...]:
    """`wanted` models of each split and bed, round robin, so that a run cut short has some of each."""
    rounds = (
        [model(split, bed, number) for split in splits for bed in beds if number < wanted[split]]
        for number in count()
    )
    return tuple(one for models in islice(rounds, max(wanted[split] for split in splits)) for one in models)


def class_names(bed: str) -> tuple[str, ...]:
    """Of a bed's images, in the order of their labels."""
    return tuple(f"{ink} {noun}" for noun in _NOUNS[BEDS[cast(BedName, bed)].glyphs] for ink in _INKS)
