"""All that the detectors measure of one model, as one plain record. Judges nothing."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import TypeVar

from cleanclip.vocabulary import scan_cost
from cleanclip.vocabulary.image_edits import Edit
from cleanclip.vocabulary.null_set import names_sha256
from cleanclip.vocabulary.progress import COLLAPSE
from cleanclip.vocabulary.scan_judging import Candidate, candidates
from cleanclip.vocabulary.scan_options import PatternFamily, ScanOptions
from cleanclip.vocabulary.scan_statistics import (
    CollapseFigures,
    EditsFigures,
    ResidualFigures,
    ScanStatistics,
)
from sanitizer.perturbations.families import Family
from sanitizer.perturbations.patterns import Pattern
from sanitizer.scans import collapse, edits, residual
from sanitizer.scans.families import build
from sanitizer.scans.parts import Part, Parts
from sanitizer.scans.subject import Subject

T = TypeVar("T", CollapseFigures, EditsFigures, ResidualFigures)


@dataclass(frozen=True, kw_only=True)
class Found(Candidate):
    """What was inverted of it, or the edit."""

    pattern: Pattern | Edit


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The record, and the patterns behind it."""

    statistics: ScanStatistics
    found: tuple[Found, ...]


def measure(
    subject: Subject,
    options: ScanOptions,
    *,
    weights_sha256: str,
    images_sha256: str,
    class_names: Sequence[str],
    parts: Parts | None = None,
    anchor_sha256: str | None = None,
) -> Measured:
    """Run the detectors of `options` on one model, but for the parts that are kept.

    Raises CheckpointRejected as `Subject.clean_embeddings` does, and Interrupted where a stop was asked for.
    """
    parts = parts or Parts(None, "")
    started, before = time.monotonic(), subject.meter.num_passes
    _ = subject.clean_embeddings  # an unusable model is refused before anything is inverted
    collapsed = _collapsed(subject, options, parts) if "collapse" in options.detectors else []
    size = len(subject.image_MCHW), len(subject.held_NCHW)
    changed: EditsFigures | None = None
    edited: ResidualFigures | None = None
    if "edits" in options.detectors:
        changed = _without_patterns(
            subject,
            "edits",
            EditsFigures,
            parts=parts,
            thirds=scan_cost.of_edits(options.edits, len(subject.held_NCHW)),
            detect=partial(edits.detect, subject, options.edits),
        )
    if "residual" in options.detectors:
        edited = _without_patterns(
            subject,
            "residual",
            ResidualFigures,
            parts=parts,
            thirds=scan_cost.of_residual(options.residual, *size),
            detect=partial(residual.detect, subject, options.residual),
        )
    statistics = ScanStatistics(
        weights_sha256=weights_sha256,
        class_names_sha256=names_sha256(class_names),
        images_sha256=images_sha256,
        seed=subject.seed,
        num_passes=subject.meter.num_passes - before,
        wall_s=time.monotonic() - started,
        collapse=tuple(one.figures for one in collapsed),
        edits=changed,
        residual=edited,
        anchor_sha256=anchor_sha256,
    )
    pattern_of = {one.figures.family: one.pattern_of for one in collapsed}
    return Measured(
        statistics=statistics,
        found=tuple(
            Found(
                **{field.name: getattr(one, field.name) for field in fields(one)},
                pattern=one.family if isinstance(one.family, Edit) else pattern_of[one.family][one.restart],
            )
            for one in candidates(statistics)
        ),
    )


def _collapsed(subject: Subject, options: ScanOptions, parts: Parts) -> list[Part[CollapseFigures]]:
    each = scan_cost.of_collapse(options.collapse, len(subject.held_NCHW))
    return [
        _part(
            subject,
            COLLAPSE(family=family.name),
            family,
            CollapseFigures,
            parts=parts,
            thirds=each,
            make=make,
        )
        for family in options.collapse.families
        for make in [partial(collapse.detect, subject, family, options.collapse)]
    ]


def _without_patterns(
    subject: Subject, name: str, kind: type[T], *, parts: Parts, thirds: int, detect: Callable[[], T]
) -> T:
    """Of a detector that inverts nothing."""

    def make() -> Part[T]:
        return Part(figures=detect(), pattern_of={})

    return _part(subject, name, None, kind, parts=parts, thirds=thirds, make=make).figures


def _part(
    subject: Subject,
    name: str,
    family: PatternFamily | None,
    kind: type[T],
    *,
    parts: Parts,
    thirds: int,
    make: Callable[[], Part[T]],
) -> Part[T]:
    """Made now, or kept; the meter knows either way. `family` None: there are no patterns."""
    subject.meter.begin(name)

    def family_of(number: int) -> Family:
        assert family is not None
        return build(family, subject.image_size, seed=subject.seed, number=number)

    part, is_new = parts.once(name, kind, None if family is None else family_of, make)
    if not is_new:
        subject.meter.skip(thirds)
    return part
