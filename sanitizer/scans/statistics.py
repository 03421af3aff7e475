"""All that the detectors measure of one model, as one plain record. Judges nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from cleanclip.spec.null_set import names_sha256
from cleanclip.spec.scan_options import Detector, PatternFamily, ScanOptions
from cleanclip.spec.scan_statistics import CollapseFigures, EaseFigures, ScanStatistics
from sanitizer.perturbations.family import Family
from sanitizer.perturbations.patterns import Pattern
from sanitizer.scans import collapse, ease
from sanitizer.scans.families import build
from sanitizer.scans.parts import Part, Parts
from sanitizer.scans.subject import Subject

T = TypeVar("T", CollapseFigures, EaseFigures)


@dataclass(frozen=True, kw_only=True)
class Found:
    """A pattern that a detector inverted. `target` is a class number, None without class names; `statistic`
    is what the detector measured of it, 0 to 1."""

    detector: Detector
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
    parts: Parts | None = None,
) -> Measured:
    """Run the detectors of `options` on one model, but for the parts that are kept.

    Raises CheckpointRejected as `Subject.clean_embeddings` does, OptionsRejected as `ease.neighbours`, and
    Interrupted where a stop was asked for.
    """
    parts = parts or Parts(None, "")
    started, before = time.monotonic(), subject.meter.num_passes
    _ = subject.clean_embeddings  # an unusable model is refused before anything is inverted
    collapsed = _collapsed(subject, options, parts) if "collapse" in options.detectors else []
    eased = _eased(subject, options, parts) if "ease" in options.detectors else []
    return Measured(
        statistics=ScanStatistics(
            weights_sha256=weights_sha256,
            class_names_sha256=names_sha256(class_names),
            images_sha256=images_sha256,
            seed=subject.seed,
            num_passes=subject.meter.num_passes - before,
            wall_s=time.monotonic() - started,
            collapse=tuple(one.figures for one in collapsed),
            ease=tuple(one.figures for one in eased),
        ),
        found=tuple(
            [found for part in collapsed for found in _of_collapse(part)]
            + [found for part in eased for found in _of_ease(part)]
        ),
    )


def _collapsed(subject: Subject, options: ScanOptions, parts: Parts) -> list[Part[CollapseFigures]]:
    each = collapse.cost_thirds(options.collapse, len(subject.held_NCHW))
    return [
        _part(
            subject,
            f"collapse: {family.name}",
            family,
            CollapseFigures,
            parts=parts,
            thirds=each,
            make=make,
        )
        for family in options.collapse.families
        for make in [partial(collapse.detect, subject, family, options.collapse)]
    ]


def _eased(subject: Subject, options: ScanOptions, parts: Parts) -> list[Part[EaseFigures]]:
    each = ease.cost_thirds(options.ease, subject.num_classes, len(subject.held_NCHW))
    return [
        _part(subject, f"ease: {family.name}", family, EaseFigures, parts=parts, thirds=each, make=make)
        for family in options.ease.families
        for make in [partial(ease.detect, subject, family, options.ease)]
    ]


def _part(
    subject: Subject,
    name: str,
    family: PatternFamily,
    kind: type[T],
    *,
    parts: Parts,
    thirds: int,
    make: Callable[[], Part[T]],
) -> Part[T]:
    """Made now, or kept; the meter knows either way."""
    subject.meter.begin(name)

    def family_of(number: int) -> Family:
        return build(family, subject.image_size, seed=subject.seed, number=number)

    part, is_new = parts.once(name, kind, family_of, make)
    if not is_new:
        subject.meter.skip(thirds)
    return part


def _of_collapse(part: Part[CollapseFigures]) -> list[Found]:
    """The restart of one family that collapses the most, of those that lead to the agreed class."""
    figures = part.figures
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
            pattern=part.pattern_of[best],
            target=figures.agreed_class,
            statistic=statistic,
        )
    ]


def _of_ease(part: Part[EaseFigures]) -> list[Found]:
    """The best pattern of each class that came to the last heat."""
    return [
        Found(
            detector="ease",
            family=part.figures.family,
            pattern=pattern,
            target=number,
            statistic=part.figures.ease[number],
        )
        for number, pattern in part.pattern_of.items()
    ]
