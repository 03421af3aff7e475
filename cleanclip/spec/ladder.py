"""The rungs of `method: auto` in their fixed order, with explicit values for a family and size.

Every rung trains from the input model, not from the rung before: its result does not depend on what was
tried, and what an earlier rung cost is not carried on. A rung is looked at after some of its epochs and ends
at the first look that meets the policy. The strength of `uar-long` is this project's choice; other values are
those of `recommended`, where it has any for the model. Free of torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from cleanclip.spec.auto_recipe import AutoRecipe
from cleanclip.spec.errors import OptionsRejected
from cleanclip.spec.recipe import PARRecipe, Recipe, SupervisedRecipe, UARRecipe
from cleanclip.spec.recommended import Family, Size, recommended

RungName = Literal["uar", "uar-long", "par", "supervised"]
WhyLeftOut = Literal["needs_captions", "needs_labels"]

MIN_IMAGES = 100
"""Of the validation set and of the test set: with fewer, no interval says anything."""

AUTO_BATCH = 256
"""The largest of a ladder's rungs."""

NUM_PATTERNS, PATTERN_STEPS, PATTERN_SIZE = 4, 100, 0.25
"""Fresh patches that are inverted on a rung's model: number, steps, and their side by the image's."""

LADDER: tuple[RungName, ...] = ("uar", "uar-long", "par", "supervised")
_NEEDS: Mapping[RungName, tuple[str, WhyLeftOut]] = {
    "par": ("pairs", "needs_captions"),
    "supervised": ("labelled_images", "needs_labels"),
}
UAR_CHANGES: Mapping[str, Mapping[str, Any]] = {
    # Longer stages, more patterns on more images, and a stronger tie to the input model's clean embeddings.
    "uar-long": {
        "epochs": 9,
        "strong_epochs": 3,
        "strong_live_share": 0.25,
        "strong_bank_share": 0.4,
        "weak_live_share": 0.15,
        "weak_bank_share": 0.3,
        "inversion_steps": 200,
        "reinversion_steps": 120,
        "inverted_patches": 12,
        "inverted_blends": 6,
        "live_patches": 6,
        "live_blends": 2,
        "consistency_weight": 20.0,
    },
}


@dataclass(frozen=True, kw_only=True)
class Rung:
    """One recipe of the ladder. `looks`: the epochs after which the model is measured, the last included."""

    name: RungName
    recipe: Recipe
    looks: tuple[int, ...]


def ladder(ordered: AutoRecipe, family: Family, size: Size | None, num_samples: int) -> tuple[Rung, ...]:
    """The rungs that these training data allow; batches are no larger than the data."""
    without = left_out(ordered)
    return tuple(_rung(name, ordered, family, size, num_samples) for name in LADDER if name not in without)


def left_out(ordered: AutoRecipe) -> dict[RungName, WhyLeftOut]:
    """Rungs that these training data do not allow, each with the reason."""
    needed = ((name, *_NEEDS[name]) for name in LADDER if name in _NEEDS)
    return {name: why for name, trained_on, why in needed if trained_on != ordered.trained_on}


def epochs_of(ordered: AutoRecipe) -> tuple[int, int]:
    """The fewest and the most epochs over the training data, whatever the model: to the first look, and all
    rungs to the end."""
    sizes: tuple[Size | None, ...] = (*get_args(Size), None)
    ladders = [ladder(ordered, family, size, 2) for family in get_args(Family) for size in sizes]
    most = max(sum(rung.recipe.epochs for rung in rungs) for rungs in ladders)
    return min(rungs[0].looks[0] for rungs in ladders), most


def num_looks(ordered: AutoRecipe) -> int:
    """The most; the input model's is one more."""
    return sum(len(rung.looks) for rung in ladder(ordered, "ModifiedResNet", None, 2))


def smaller_part(ordered: object) -> float:
    """The share of the labelled images that the smaller of the two sets has; of another recipe 1."""
    if not isinstance(ordered, AutoRecipe):
        return 1.0
    return min(ordered.validation_share, 1 - ordered.validation_share)


def check_parts(ordered: object, num_labelled: int) -> None:
    """Raises OptionsRejected where the labelled images are too few for a validation set and a test set of a
    ladder; of another recipe nothing is checked."""
    if not isinstance(ordered, AutoRecipe):
        return
    num_validation = num_validated(ordered, num_labelled)
    smaller = min(num_validation, num_labelled - num_validation)
    if smaller >= MIN_IMAGES:
        return
    raise OptionsRejected(
        "too_few_to_validate",
        f"{num_labelled} labelled images with a validation share of {ordered.validation_share:g} make "
        f"{num_validation} validation images and {num_labelled - num_validation} test images; each set needs "
        f"at least {MIN_IMAGES}.",
        "Give more labelled images, or name a recipe instead of auto.",
        where="recipe.validation_share",
    )


def num_validated(ordered: AutoRecipe, num_labelled: int) -> int:
    """How many of the labelled images are validation images, unreadable ones included."""
    return round(ordered.validation_share * num_labelled)


def _rung(name: RungName, ordered: AutoRecipe, family: Family, size: Size | None, num_samples: int) -> Rung:
    kind: type[PARRecipe | SupervisedRecipe | UARRecipe] = UARRecipe
    if name in ("par", "supervised"):
        kind = PARRecipe if name == "par" else SupervisedRecipe
    source = recommended(kind.method, family, size)
    values = {**(source.values if source else {}), **UAR_CHANGES.get(name, {})}
    if kind is UARRecipe:
        values["trained_on"] = ordered.trained_on
    values["batch_size"] = max(2, min(int(values.get("batch_size", kind.batch_size)), num_samples))
    recipe = kind(**values)
    return Rung(name=name, recipe=recipe, looks=_looks(recipe))


def _looks(recipe: Recipe) -> tuple[int, ...]:
    """UAR: after the next to last epoch, too, which is one of the weak stage. Others: at the end alone."""
    return (recipe.epochs - 1, recipe.epochs) if isinstance(recipe, UARRecipe) else (recipe.epochs,)
