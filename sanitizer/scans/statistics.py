"""All that the detectors measure of one model, as one plain record. Judges nothing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from cleanclip.spec.null_set import names_sha256
from cleanclip.spec.scan_options import PatternFamily, ScanOptions
from cleanclip.spec.scan_statistics import ScanStatistics
from sanitizer.perturbations.patterns import Pattern
from sanitizer.scans import collapse, ease
from sanitizer.scans.subject import Subject


@dataclass(frozen=True, kw_only=True)
class Found:
    """A pattern that a detector inverted. `target` is a class number, None without class names; `statistic`
    is what the detector measured of it, 0 to 1."""

    detector: str
    family: PatternFamily
    pattern: Pattern
    target: int | None
    statistic: float


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The record, and the patterns behind it."""

    statistics: ScanStatistics
    found: tuple[Found, ...]


def cost_thirds(options: ScanOptions, *, num_held_out: int, num_classes: int) -> int:
    """Of all detectors, in thirds of a pass; the clean pass over the held-out images is one of them."""
    thirds = num_held_out
    if "collapse" in options.detectors:
        thirds += len(options.collapse.families) * collapse.cost_thirds(options.collapse, num_held_out)
    if "ease" in options.detectors:
        each = ease.cost_thirds(options.ease, num_classes, num_held_out)
        thirds += len(options.ease.families) * each
    return thirds


def measure(
    subject: Subject,
    options: ScanOptions,
    *,
    weights_sha256: str,
    images_sha256: str,
    class_names: Sequence[str],
) -> Measured:
    """Run the detectors of `options` on one model.

    Raises CheckpointRejected as `Subject.clean_embeddings` does, and Interrupted where a stop was asked for.
    """
    started, before = time.monotonic(), subject.meter.num_passes
    _ = subject.clean_embeddings  # an unusable model is refused before anything is inverted
    found: list[Found] = []
    collapsed = []
    if "collapse" in options.detectors:
        for family in options.collapse.families:
            subject.meter.begin(f"collapse: {family.name}")
            one = collapse.detect(subject, family, options.collapse)
            collapsed.append(one.figures)
            found += _of_collapse(one)
    eased = []
    if "ease" in options.detectors:
        for family in options.ease.families:
            subject.meter.begin(f"ease: {family.name}")
            raced = ease.detect(subject, family, options.ease)
            eased.append(raced.figures)
            found += _of_ease(raced)
    return Measured(
        statistics=ScanStatistics(
            weights_sha256=weights_sha256,
            class_names_sha256=names_sha256(class_names),
            images_sha256=images_sha256,
            seed=subject.seed,
            num_passes=subject.meter.num_passes - before,
            wall_s=time.monotonic() - started,
            collapse=tuple(collapsed),
            ease=tuple(eased),
        ),
        found=tuple(found),
    )


def _of_collapse(one: collapse.Collapsed) -> list[Found]:
    """The restart of one family that collapses the most, of those that lead to the agreed class."""
    figures = one.figures
    agreeing = [
        number
        for number, restart in enumerate(figures.restarts)
        if restart.towards == figures.agreed_class  # both None without class names
    ]
    best = max(agreeing, key=lambda number: figures.restarts[number].values[-1], default=None)
    if best is None:
        return []
    statistic = figures.restarts[best].values[-1] if figures.agreement is None else figures.agreement
    return [
        Found(
            detector="collapse",
            family=figures.family,
            pattern=one.patterns[best],
            target=figures.agreed_class,
            statistic=statistic,
        )
    ]


def _of_ease(raced: ease.Eased) -> list[Found]:
    """The best pattern of each class that came to the last heat."""
    return [
        Found(
            detector="ease",
            family=raced.figures.family,
            pattern=pattern,
            target=number,
            statistic=raced.figures.ease[number],
        )
        for number, pattern in raced.pattern_of.items()
    ]
