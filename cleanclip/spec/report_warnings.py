"""The warnings of an audit or a cleaning, all of them from the rest of its report. Free of torch.

Nobody stores a sentence that a reader could not make. The library writes them into report.json for readers
without this code; a supervisor writes them again, and `cleanclip verify` compares.
"""

from __future__ import annotations

from collections.abc import Iterator

from cleanclip.spec import cautions
from cleanclip.spec.audit_figures import MOST_CLASSES_LISTED
from cleanclip.spec.cautions import TrainedClasses
from cleanclip.spec.judging import hopeless
from cleanclip.spec.measures import Estimate
from cleanclip.spec.recipe import PARRecipe
from cleanclip.spec.report import DataInput, Report
from cleanclip.spec.retrieval_figures import RetrievalFigures
from cleanclip.spec.settled import warnings as of_settings
from cleanclip.spec.skip_reasons import skipped
from cleanclip.spec.templates import PLAIN_TEMPLATE

_SAMPLE = {"pairs": "pair", "labelled": "labelled image"}
"""Of a kind of data; of another "training sample"."""


def warnings_of(report: Report) -> tuple[str, ...]:
    """In the order in which a job comes to know them. Raises ArithmeticError, LookupError or ValueError for a
    report whose figures do not fit."""
    return (
        *cautions.before_audit(report.audit, report.policy, is_cleaned=report.kind == "sanitize"),
        *_before_training(report),
        *of_settings(report.architecture),
        *_hopeless(report),
        *_after_training(report),
        *report.as_uploaded,
        *_plain_template(report),
        *_probe(report),
        *_excluded(report),
        *_skipped(report),
        *_audit(report),
        *_rebound(report),
    )


def _before_training(report: Report) -> list[str]:
    """Of the recipe that the model was trained with."""
    model = report.checkpoint.model
    training = next((one for one in report.data if one.kind in ("pairs", "training")), None)
    if report.recipe is None or training is None or model is None:
        return []
    num_classes = next((one.num_classes for one in report.data if one.kind == "labelled"), None)
    return cautions.before_training(
        report.recipe,
        num_samples=training.num_samples,
        num_classes=num_classes or 0,
        trained=_trained(training),
        family=model[0],
        size=model[1],
        given=None if report.recipe_source is None else report.recipe_source.given,
    )


def _trained(training: DataInput) -> TrainedClasses | None:
    if training.num_classes is None or training.num_missing is None:
        return None
    return TrainedClasses(num=training.num_classes, num_missing=training.num_missing)


def _hopeless(report: Report) -> list[str]:
    """That nothing could pass, by limits that nobody gave: others were refused."""
    if report.after is None or report.policy_source.given != "default":
        return []
    refusals = hopeless(report.before, gate=report.audit.gate, policy=report.policy, scan=report.scan)
    return [refusal.message for refusal in refusals]


def _after_training(report: Report) -> Iterator[str]:
    """How the training went."""
    recipe = report.recipe
    if not isinstance(recipe, PARRecipe) or report.training is None:
        return
    for side, name in (("image", "distance_image"), ("caption", "distance_text")):
        farthest = max((getattr(point, name) or 0.0 for point in report.training.curve), default=0.0)
        if farthest <= recipe.threshold:
            yield (
                f"The {side} embeddings moved to a distance of {farthest:.2f} from the input "
                f"model, and never over the threshold of {recipe.threshold:g}: the push went "
                "on until the last update. Raise initial_learning_rate or push_share, or lower the threshold."
            )


def _plain_template(report: Report) -> Iterator[str]:
    """That nobody gave templates, and what one plain template gives."""
    plain = report.plain_template_ca
    if plain is not None:
        yield (
            "Neither the order nor the labelled set gives templates, so ImageNet's 80 were used: clean "
            f"accuracy is {_interval(report.before.ca)}. With '{PLAIN_TEMPLATE}' alone it is "
            f"{_interval(plain)} on the same {plain.n:,} images. Give the templates that fit your images as "
            "audit.templates."
        )


def _interval(share: Estimate) -> str:
    low, high = 100 * share.low, 100 * share.high
    return f"{100 * share.value:.1f} % (95 % interval {low:.1f} to {high:.1f} %)"


def _probe(report: Report) -> Iterator[str]:
    probes = [audit.linear_probe for audit in (report.before, report.after) if audit is not None]
    if any(probe is not None and not probe.is_converged for probe in probes):
        yield "The linear probe did not converge: its figures may still change. Raise its max_iterations."


def _excluded(report: Report) -> list[str]:
    """One sentence for each dataset that an order left samples out of."""
    return [
        f"{one.excluded.num} {_SAMPLE.get(one.kind, f'{one.kind} sample')}"
        f"{' was' if one.excluded.num == 1 else 's were'} left out by a list: {one.excluded.reason}."
        for one in report.data
        if one.excluded is not None
    ]


def _skipped(report: Report) -> Iterator[str]:
    for one in report.data:
        yield from skipped("pair" if one.kind == "pairs" else one.kind, one.num_skipped, one.num_samples)


def _audit(report: Report) -> Iterator[str]:
    """What the audit left out."""
    num_classes = max((one.num_classes or 0 for one in report.data if one.kind == "labelled"), default=0)
    if num_classes > MOST_CLASSES_LISTED and not report.before.ca_per_class:
        yield (
            f"The labelled set has images of more than {MOST_CLASSES_LISTED} classes: their accuracy is not "
            "listed one by one."
        )
    now = report.after or report.before
    if now.retrieval is not None:
        yield from _not_shown(now.retrieval)


def _not_shown(figures: RetrievalFigures) -> Iterator[str]:
    for one in figures.targets:
        if one.untriggered is not None:
            continue
        if one.num_naming == 0:
            why = f"No caption of the retrieval set names '{one.target}'"
        elif one.num_images == 0:
            why = f"Every image of the retrieval set has a caption that names '{one.target}'"
        else:
            why = f"The retrieval set has only {figures.num_captions} different captions"
        yield f"{why}, so it could not be measured how often a trigger retrieves one that does."


def _rebound(report: Report) -> Iterator[str]:
    """At which rates a copy's training diverged, or destroyed the model."""
    for curve in report.rebound.curves if report.rebound else ():
        trained = f"Trained further at {curve.rate:g} times the cleaning's learning rate, the copy"
        if curve.diverged_at is not None:
            yield f"{trained}'s loss diverged at update {curve.diverged_at}: nothing was measured after that."
        worst = min(curve.points, key=lambda point: point.ca.value)
        if worst.ca.value < curve.points[0].ca.value / 2:
            yield (
                f"{trained} lost more than half of its clean accuracy ({100 * worst.ca.value:.1f} % after "
                f"{worst.step} updates): its attack success rates say little. Give lower rates."
            )
