"""Sentences on an order that may disappoint: known before any training, and after it. Trains nothing.

A threshold here is where somebody should look, not where something breaks; each says why it lies there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TypedDict

from sanitizer.audits.verdict import hopeless
from sanitizer.checkpoints.architecture import ModifiedResNet
from sanitizer.checkpoints.model import LoadedCheckpoint
from sanitizer.recipe import CleanCLIPRecipe, PARRecipe, Policy, PolicySource, Recipe
from sanitizer.recommended import Family, Recommendation, Size, recommended, size_of
from sanitizer.report import AuditFigures, Training

MIN_SAMPLES_PER_CLASS = 75
"""In the project's trials 50 clean pairs a class cost ten points of clean accuracy, 100 none."""
MIN_STEPS = 500
"""A few hundred large steps are retraining rather than fine-tuning; the paper takes 15,620 small ones."""
MOST_WARMUP = 0.2
"""Of a run: twice what the demo has (50 of 500 updates, which works) and far over the paper's 0.3 %."""
FAR_FEWER = 10
"""Sources differ by up to 2.5 in the number of pairs (100,000 to 250,000); none has a tenth of another's."""


class Model(TypedDict):
    """What recommendations are told apart by."""

    family: Family
    size: Size | None


def model_of(checkpoint: LoadedCheckpoint) -> Model:
    """Family and size of a checkpoint's model."""
    is_resnet = isinstance(checkpoint.architecture.vision, ModifiedResNet)
    return Model(
        family="ModifiedResNet" if is_resnet else "VisionTransformer",
        size=size_of(sum(parameter.numel() for parameter in checkpoint.model.parameters())),
    )


def hopeless_or_refused(before: AuditFigures, gate: float, policy: Policy, source: PolicySource) -> list[str]:
    """That nothing could pass. Raises OptionsRejected where it is by limits that somebody gave."""
    found = hopeless(before, gate=gate, policy=policy)
    if found and source.given != "default":
        raise found[0]
    return [refusal.message for refusal in found]


def before_training(
    recipe: Recipe,
    *,
    num_samples: int,
    num_classes: int,
    family: Family,
    size: Size | None,
    given: Collection[str] | None,
) -> list[str]:
    """`given`: the options that the order gave; None where nobody knows: what is no default was given."""
    num_steps = recipe.epochs * (num_samples // recipe.batch_size)
    found = [
        *_too_few(recipe, num_samples, num_classes, num_steps),
        *_warmup(recipe, num_steps),
        *_against_the_source(recipe, num_samples, family, size, given),
    ]
    if not recipe.freeze_batch_norm_statistics:
        found.append("BatchNorm statistics follow the images trained on, which can cost clean accuracy.")
    match recipe:
        case CleanCLIPRecipe():
            found += _cleanclip(recipe)
        case PARRecipe():
            found += _par(recipe)
    return found


def _what(recipe: Recipe) -> str:
    return "pairs" if recipe.training_data == "pairs" else "labelled images"


def _too_few(recipe: Recipe, num_samples: int, num_classes: int, num_steps: int) -> Iterator[str]:
    what = _what(recipe)
    if num_samples < num_classes:
        yield (
            f"{num_samples} clean {what} for {num_classes} classes: some classes are not among them at all, "
            f"and their accuracy may fall most. Give more {what}."
        )
    elif num_samples < MIN_SAMPLES_PER_CLASS * num_classes:
        yield (
            f"{num_samples} clean {what} for {num_classes} classes are fewer than {MIN_SAMPLES_PER_CLASS} "
            f"a class: expect clean accuracy to fall. Give more {what}."
        )
    if num_steps < MIN_STEPS:
        yield (
            f"The recipe makes {num_steps} updates, fewer than {MIN_STEPS}: too few for a low learning rate "
            f"to act. Give more {what} or more epochs."
        )


def _warmup(recipe: Recipe, num_steps: int) -> Iterator[str]:
    if isinstance(recipe, PARRecipe):
        return
    if recipe.warmup_steps >= num_steps:
        yield (
            f"The warm-up of {recipe.warmup_steps} steps does not end within the {num_steps} of the run, "
            "so the learning rate never reaches its full value."
        )
    elif recipe.warmup_steps > MOST_WARMUP * num_steps:
        yield (
            f"The warm-up takes {recipe.warmup_steps} of the {num_steps} updates, "
            f"{100 * recipe.warmup_steps / num_steps:.0f} % of the run: little is left at the full learning "
            "rate. Lower warmup_steps, or make the run longer."
        )


def _against_the_source(
    recipe: Recipe,
    num_samples: int,
    family: Family,
    size: Size | None,
    given: Collection[str] | None,
) -> Iterator[str]:
    """What was published or measured for such a model, where the recipe left it to the defaults."""
    model = f"{size or 'medium'}-size {family}"
    source = recommended(recipe.method, family, size)
    if source is None:
        if "learning_rate" not in (given or ()):
            yield (
                f"Nothing was published, or measured by this project, for {recipe.method} on a {model}: "
                "the defaults are those of a full-size ModifiedResNet. Try learning rates."
            )
        return
    others = [
        f"{name} {value:g} instead of {getattr(recipe, name):g}"
        for name, value in source.values.items()
        if name not in (given or ()) and getattr(recipe, name) != value and _is_default(recipe, name)
    ]
    if others:
        yield (
            f"Options that were left out have the method's defaults. For a {model} this was "
            f"{source.kind}: {', '.join(others)} ({source.source})."
        )
    yield from _far_fewer(recipe, num_samples, source)


def _is_default(recipe: Recipe, name: str) -> bool:
    return bool(getattr(recipe, name) == getattr(type(recipe)(), name))


def _far_fewer(recipe: Recipe, num_samples: int, source: Recommendation) -> Iterator[str]:
    what = _what(recipe)
    num_seen = recipe.epochs * num_samples
    source_seen = int(source.values["epochs"]) * source.num_samples
    if num_samples * FAR_FEWER <= source.num_samples:
        yield (
            f"{num_samples:,} clean {what} are {source.num_samples / num_samples:.0f} times fewer than the "
            f"{source.num_samples:,} of the source of this recipe ({source.source}): its figures say little "
            "about this run."
        )
    elif num_seen * FAR_FEWER <= source_seen:
        yield (
            f"{recipe.epochs} epochs show the model {num_seen:,} {what}, {source_seen / num_seen:.0f} times "
            f"fewer than the {source_seen:,} of the source of this recipe ({source.source})."
        )


def _cleanclip(recipe: CleanCLIPRecipe) -> Iterator[str]:
    if recipe.lambda2 == 0:
        yield (
            "lambda2 is 0: without the self-supervised terms fine-tuning often leaves the backdoor in place."
        )
    if recipe.lambda1 == 0:
        yield "lambda1 is 0: without CLIP's own loss clean accuracy is usually lost."


def _par(recipe: PARRecipe) -> Iterator[str]:
    if recipe.threshold == 0:
        yield (
            "threshold is 0: nothing pushes the model away from what came in, so this is fine-tuning by "
            "CLIP's own loss, which often leaves the backdoor in place."
        )
    elif recipe.push_share == 0 or recipe.initial_learning_rate <= recipe.learning_rate:
        yield (
            "The learning rate does not come down to learning_rate from a higher one: PAR moves away from "
            "the model that came in by large steps first. Raise initial_learning_rate, or push_share from 0."
        )


def after_training(recipe: Recipe, training: Training) -> list[str]:
    """Sentences on how the training went."""
    if not isinstance(recipe, PARRecipe):
        return []
    warnings = []
    for side, name in (("image", "distance_image"), ("caption", "distance_text")):
        farthest = max((getattr(point, name) or 0.0 for point in training.curve), default=0.0)
        if farthest <= recipe.threshold:
            warnings.append(
                f"The {side} embeddings moved to a distance of {farthest:.2f} from the model that came in, "
                f"and never over the threshold of {recipe.threshold:g}: they were pushed to the last update. "
                "Raise initial_learning_rate or push_share, or lower the threshold."
            )
    return warnings
