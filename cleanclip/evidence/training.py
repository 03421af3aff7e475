"""Whether what a report tells of the training fits its recipe, itself and training_curve.json."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from cleanclip.evidence.counted import close, same
from cleanclip.evidence.findings import CURVE_NAME, Finding, misfit
from cleanclip.vocabulary.recipe import Recipe
from cleanclip.vocabulary.report import CurvePoint, Report, Training
from cleanclip.vocabulary.uar_recipe import TEXT_CONSISTENCY_WEIGHT, UARRecipe

_SINGLE = 1e-4
"""Losses and distances are summed in single precision, step by step."""


def check(report: Report) -> Iterator[Finding]:
    """Counts and rates by the recipe, losses by their parts."""
    training, recipe = report.training, report.recipe
    if report.is_cleaning != (training is not None) or (recipe is None) != (training is None):
        yield misfit("training", "and recipe belong to a cleaning")
    if training is None or recipe is None:
        return
    num_pairs = sum(data.num_samples for data in report.data if data.kind in {"pairs", "training"})
    steps_per_epoch = num_pairs // recipe.batch_size
    num_steps = recipe.epochs * steps_per_epoch
    yield from same("training.num_steps", training.num_steps, num_steps)
    yield from same("training.num_pairs_seen", training.num_pairs_seen, num_steps * recipe.batch_size)
    yield from _curve(training, recipe, steps_per_epoch)


def _curve(training: Training, recipe: Recipe, steps_per_epoch: int) -> Iterator[Finding]:
    before = 0
    for index, point in enumerate(training.curve):
        where = f"training.curve[{index}]"
        if point.step <= before:
            yield misfit(f"{where}.step", "does not come after the point before")
        before = point.step
        yield from _point(where, point, recipe, steps_per_epoch, num_steps=recipe.epochs * steps_per_epoch)


def _point(
    where: str, point: CurvePoint, recipe: Recipe, steps_per_epoch: int, *, num_steps: int
) -> Iterator[Finding]:
    if steps_per_epoch and not close(point.epoch, point.step / steps_per_epoch):
        yield misfit(f"{where}.epoch", f"is {point.epoch:.6g}, but step {point.step} is another")
    loss = _loss_of_parts(point, recipe)
    if abs(loss - point.loss) > _SINGLE * max(1.0, abs(loss)):
        yield misfit(where, f"does not fit itself: its parts make a loss of {loss:.6g}, not {point.loss:.6g}")
    yield from _distances(where, point, recipe)
    yield from _consistency(where, point, recipe)
    rate = _rate(point.step - 1, recipe, num_steps)
    if not close(point.learning_rate / recipe.learning_rate, rate / recipe.learning_rate):
        yield misfit(
            f"{where}.learning_rate", f"is {point.learning_rate:.6g}, but the recipe's is {rate:.6g}"
        )
    has_captions = not isinstance(recipe, UARRecipe) or recipe.trained_on == "pairs"  # else nothing reads it
    if has_captions and not 1 - 1e-6 <= point.logit_scale <= 100 + 1e-3:
        yield misfit(f"{where}.logit_scale", f"is {point.logit_scale:.6g}, out of its clamp of 1 to 100")


def _distances(where: str, point: CurvePoint, recipe: Recipe) -> Iterator[Finding]:
    """Of unit embeddings to those of the model that came in; PAR's push is their mean as far as it is on."""
    reported = {name: getattr(point, name) for name in ("loss_push", "distance_image", "distance_text")}
    for name, value in reported.items():
        if (value is None) == (recipe.method == "par"):
            yield misfit(f"{where}.{name}", "belongs to each point of PAR's curve, and to no other")
    if any(value is None for value in reported.values()):
        return
    for name in ("distance_image", "distance_text"):
        if not 0 <= reported[name] <= 4 + _SINGLE:
            yield misfit(f"{where}.{name}", f"is {reported[name]:.6g}, out of 0 to 4")
    mean = (reported["distance_image"] + reported["distance_text"]) / 2
    if not 0 <= reported["loss_push"] <= mean + _SINGLE:
        yield misfit(f"{where}.loss_push", f"is {reported['loss_push']:.6g}, out of 0 to {mean:.6g}")


def _consistency(where: str, point: CurvePoint, recipe: Recipe) -> Iterator[Finding]:
    """UAR's: a mean of 1 minus a cosine. CLIP's loss is a part of it where captions are trained on."""
    reported = point.loss_consistency
    if (reported is None) == isinstance(recipe, UARRecipe):
        yield misfit(f"{where}.loss_consistency", "belongs to each point of UAR's curve, and to no other")
    elif reported is not None and not -_SINGLE <= reported <= 2 + _SINGLE:
        yield misfit(f"{where}.loss_consistency", f"is {reported:.6g}, out of 0 to 2")
    has_words = isinstance(recipe, UARRecipe) and bool(recipe.trigger_words)
    for name, most in (("loss_text_clip", math.inf), ("loss_text_consistency", 2 + _SINGLE)):
        value = getattr(point, name)
        if (value is None) == has_words:
            yield misfit(
                f"{where}.{name}", "belongs to each point of UAR with trigger_words, and to no other"
            )
        elif value is not None and not -_SINGLE <= value <= most:
            yield misfit(f"{where}.{name}", f"is {value:.6g}, out of its bounds")
    if isinstance(recipe, UARRecipe) and (point.loss_clip is None) == (recipe.trained_on == "pairs"):
        yield misfit(f"{where}.loss_clip", "belongs to UAR on pairs, and not to UAR on images alone")


def _loss_of_parts(point: CurvePoint, recipe: Recipe) -> float:
    if recipe.method == "supervised":
        return point.loss  # it has no parts
    clip = point.loss_clip or 0.0
    if recipe.method == "par":
        return clip - (point.loss_push or 0.0)
    if recipe.method == "uar":
        text = (point.loss_text_clip or 0.0) + TEXT_CONSISTENCY_WEIGHT * (point.loss_text_consistency or 0.0)
        return clip + recipe.consistency_weight * (point.loss_consistency or 0.0) + text
    return recipe.lambda1 * clip + recipe.lambda2 * (point.loss_self_supervised or 0.0)


def _rate(step: int, recipe: Recipe, num_steps: int) -> float:
    """Linear warm-up (for PAR down from its first rate), then half a cosine to zero; `step` from 0. UAR does
    so in each of its stages."""
    base = recipe.learning_rate
    if recipe.method == "uar":
        steps_per_epoch = num_steps // recipe.epochs
        stage = [one for one in recipe.stages() if one.first_epoch * steps_per_epoch <= step][-1]
        step -= stage.first_epoch * steps_per_epoch
        base, num_steps = stage.learning_rate, stage.num_epochs * steps_per_epoch
    if recipe.method == "par":
        initial, warmup_steps = recipe.initial_learning_rate, round(recipe.push_share * num_steps)
    else:
        initial, warmup_steps = 0.0, recipe.warmup_steps
    if step < warmup_steps:
        return initial + (base - initial) * (step + 1) / warmup_steps
    return base * 0.5 * (1 + math.cos(math.pi * (step - warmup_steps) / max(1, num_steps - warmup_steps)))


def compare_curve(curve: Any, document: Mapping[str, Any]) -> Iterator[Finding]:
    """training_curve.json holds the same points as the report, `document`, whose form was checked."""
    reported = (document.get("training") or {}).get("curve") or []
    points = curve.get("points") if isinstance(curve, dict) else None
    if not isinstance(points, list) or len(points) != len(reported):
        yield Finding(file=CURVE_NAME, where="points", message="are not as many as those of report.json")
        return
    for index, (in_report, in_curve) in enumerate(zip(reported, points, strict=True)):
        if in_report != in_curve:
            yield misfit(f"training.curve[{index}]", f"is not the same point in {CURVE_NAME}")
