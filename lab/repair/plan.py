"""Which models the study of repair has, told apart before the first run. Free of torch.

A development model is named "development-BED-FAMILY", a held-out one "held_out-BED-FAMILY"; its place in the
list gives its seed, and the seed its target and its trigger. Recipes are chosen on the former, which are
measured on validation images. The latter carry triggers that no development model has, are measured on test
images, and are run only with the recipes of `FROZEN`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from cleanclip.vocabulary.attack_options import BadNetOptions, BlendedOptions, SIGOptions, WaNetOptions
from cleanclip.vocabulary.recipe import CleanCLIPRecipe, Recipe
from cleanclip.vocabulary.uar_recipe import UARRecipe
from lab.testbed.options import Implanted, OtherPaper, PaperColour
from lab.zoo import plan as zoo
from lab.zoo.plan import BedName, Draws, Model
from sanitizer.seeding import generator

Part = Literal["development", "held_out"]
PARTS: tuple[Part, ...] = ("development", "held_out")
_FIRST_SEED: Mapping[Part, int] = {"development": 800_000, "held_out": 900_000}
NUM_PAIRS = 8_000
NUM_IMAGES = 3_000

Make = Callable[[Draws, int], Implanted | None]
_OTHER_PAPERS = {
    "orange": (240, 140, 30),
    "pink": (245, 150, 190),
    "olive": (120, 130, 30),
    "grey": (128, 128, 128),
}
FAMILIES: Mapping[Part, Mapping[str, Make]] = {
    "development": {
        "turquoise paper": lambda draws, seed: PaperColour(),
        "warp": lambda draws, seed: WaNetOptions(strength=8.0, pattern_seed=seed),
        "clean": lambda draws, seed: None,
        "patch": lambda draws, seed: BadNetOptions(
            pattern="gaussian_fixed", placement="random", size=5 / 32, pattern_seed=seed
        ),
        "stripes": lambda draws, seed: BadNetOptions(pattern="stripes_fixed", size=8 / 32, pattern_seed=seed),
        "sinusoid": lambda draws, seed: SIGOptions(amplitude=50 / 255, frequency=6),
    },
    "held_out": {
        "clean": lambda draws, seed: None,
        **{
            f"{name} paper": lambda draws, seed, rgb=rgb: OtherPaper(colour=rgb)  # type: ignore[misc]
            for name, rgb in _OTHER_PAPERS.items()
        },
        **zoo.SECOND_HELD_OUT_FAMILIES,
        "filter": zoo.HELD_OUT_FAMILIES["filter"],
        "warp": lambda draws, seed: WaNetOptions(strength=7.0, pattern_seed=seed),
        "patch at one place": lambda draws, seed: BadNetOptions(
            pattern="checkerboard", placement="bottom_right", size=6 / 32
        ),
        "blend": lambda draws, seed: BlendedOptions(pattern="uniform_fixed", alpha=0.2, pattern_seed=seed),
        "second clean": lambda draws, seed: None,
    },
}
BEDS: tuple[BedName, ...] = ("digits-resnet", "fashion-resnet", "fashion-vit")


def models(part: Part, beds: tuple[BedName, ...] = BEDS) -> tuple[Model, ...]:
    """Family by family, so that a run cut short has every bed."""
    return tuple(
        _model(part, bed, number, family) for number, family in enumerate(FAMILIES[part]) for bed in beds
    )


def _model(part: Part, bed_name: BedName, number: int, family: str) -> Model:
    seed = _FIRST_SEED[part] + 1_000 * BEDS.index(bed_name) + number
    draws = generator(seed, "repair_model")
    ink, noun = str(draws.choice(zoo.class_names(bed_name))).split(" ", 1)
    options = zoo.clean_subject(bed_name, ink, noun, poison_share=0.05)
    options = replace(options, attack=FAMILIES[part][family](draws, seed))
    name = f"{part}-{bed_name}-{family.replace(' ', '_')}"
    return Model(name=name, split=part, bed=bed_name, family=family, seed=seed, options=options)


SMALL: Mapping[str, Any] = {"learning_rate": 5e-4, "warmup_steps": 50, "batch_size": 64}


def version_1(bed: BedName) -> UARRecipe:
    """The recipe that was frozen for docs/uar.md."""
    return UARRecipe(**SMALL, kept_change=1.0 if bed.endswith("vit") else 0.8)


def _with(**changes: Any) -> Callable[[BedName], Recipe]:
    return lambda bed: UARRecipe(**{**SMALL, **changes})


WARPS: dict[str, Any] = {"live_warps": 1, "inverted_warps": 4}
INVERTED: dict[str, Any] = {**WARPS, "inverted_edits": 14}
MORE: dict[str, Any] = {**INVERTED, "strong_bank_share": 0.4, "weak_bank_share": 0.3}
DRAWN: dict[str, Any] = {"inverted_edits": 7, "strong_edit_share": 0.15, "weak_edit_share": 0.15}
BOTH: dict[str, Any] = {**WARPS, **DRAWN}
WIDER: dict[str, Any] = {**DRAWN, "live_warps": 2, "inverted_warps": 6, "warp_strength": 0.1}
RECIPES: Mapping[str, Callable[[BedName], Recipe]] = {
    "version 1": version_1,
    "cleanclip": lambda bed: CleanCLIPRecipe(epochs=4, batch_size=64, learning_rate=2e-4, warmup_steps=50),
    "a": _with(**MORE, kept_change=0.8),
    "b": _with(**MORE, kept_change=0.8, consistency_weight=20.0),
    "c": _with(**INVERTED, kept_change=0.8),
    "d": _with(**MORE, kept_change=0.8, weak_learning_rate=2e-4),
    "e": _with(**MORE, consistency_weight=20.0, weak_learning_rate=2e-4),
    "f": _with(**INVERTED, consistency_weight=20.0, weak_learning_rate=2e-4),
    "g": _with(**MORE, consistency_weight=20.0, weak_learning_rate=2e-4, kept_change=0.8),
    "h": _with(**BOTH, consistency_weight=20.0),
    "i": _with(**BOTH),
    "j": _with(**BOTH, consistency_weight=200.0),
    "k": _with(**BOTH, consistency_weight=20.0, learning_rate=3e-4),
    "l": _with(**BOTH, consistency_weight=20.0, warp_strength=0.1),
    "m": _with(**WIDER | {"inverted_warps": 8}, consistency_weight=20.0),
    "n": _with(
        **WIDER | {"strong_edit_share": 0.2, "weak_edit_share": 0.2},
        strong_bank_share=0.35,
        weak_bank_share=0.25,
    ),
    "o": _with(**WIDER | {"weak_edit_share": 0.1}, edit_strength=0.7, consistency_weight=10.0),
    "p": _with(**DRAWN, consistency_weight=20.0),
    "q": _with(
        **WIDER | {"live_warps": 1, "weak_edit_share": 0.1},
        consistency_weight=20.0,
        strong_live_share=0.1,
        strong_bank_share=0.25,
        weak_live_share=0.06,
        weak_bank_share=0.12,
    ),
}
"""By name, so that a row says which; nothing is taken away once it was run."""
FROZEN: tuple[str, ...] = ("h", "version 1")
"""For the held-out models: `h`, the one recipe that was run on turquoise paper on all three beds, of which it
left under 3 % each time; and `version 1` beside it."""


@dataclass(frozen=True, kw_only=True)
class Arithmetic:
    """How `lab.repair.arithmetic` cleans a model."""

    searched: UARRecipe
    """Whose patterns are inverted, in as many steps as its first stage has."""
    alpha: float
    kept_weight: float = 5.0
    num_steps: int = 50
    learning_rate: float = 1e-5
    batch_size: int = 64
    method: str = "tbar"


Steps = tuple[Recipe | Arithmetic, ...]
_SEARCHED = UARRecipe(**SMALL, **WARPS, inverted_edits=7, inverted_blend_alpha=0.1)
RIVALS: Mapping[str, Callable[[BedName], Steps]] = {
    "cleanclip": lambda bed: (RECIPES["cleanclip"](bed),),
    "cleanclip then version 1": lambda bed: (RECIPES["cleanclip"](bed), version_1(bed)),
    **{
        f"tbar {alpha}": lambda bed, alpha=alpha: (Arithmetic(searched=_SEARCHED, alpha=alpha),)  # type: ignore[misc]
        for alpha in (4, 8, 12)
    },
}
"""What else can be done with the same pairs; each step starts from what the one before it made."""
FROZEN_RIVALS: tuple[str, ...] = ("cleanclip", "cleanclip then version 1", "tbar 4")
"""Beside `version 1`, for the held-out models. Of the alphas 4, 8 and 12, run on the digits-resnet models
with turquoise paper, a patch and no trigger, 4 alone cost under 5 points of CA each; the patch needs 12."""
RIVAL_BEDS: tuple[BedName, ...] = ("digits-resnet", "fashion-vit")
RIVAL_FAMILIES = ("orange paper", "patch at one place", "clean", "blend")
"""The held-out models that rivals are run on, bed by bed."""


def rival_models() -> tuple[Model, ...]:
    """Those of `RIVAL_BEDS` and `RIVAL_FAMILIES`."""
    known = {(one.bed, one.family): one for one in models("held_out")}
    return tuple(known[bed, family] for bed in RIVAL_BEDS for family in RIVAL_FAMILIES)


def steps(recipe: str, bed: BedName) -> Steps:
    """What the name stands for, among recipes and rivals."""
    return RIVALS[recipe](bed) if recipe in RIVALS else (RECIPES[recipe](bed),)
