"""report.json of a scan: held to itself, and to the null beside it: judgements follow from both."""

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from pydantic import ValidationError

from cleanclip.evidence import control
from cleanclip.evidence.counted import same
from cleanclip.evidence.findings import NULL_NAME, Finding, misfit
from cleanclip.evidence.folder import CheckedFolder
from cleanclip.evidence.reading import Malformed, malformed
from cleanclip.vocabulary.errors import OptionsRejected
from cleanclip.vocabulary.measures import Estimate
from cleanclip.vocabulary.null_set import MAX_NULL_BYTES, NullSet, ScanToJudge, differences, load_null
from cleanclip.vocabulary.scan_judging import rejudged
from cleanclip.vocabulary.scan_report import Hypothesis, ScanReport, load_scan
from cleanclip.vocabulary.scan_statistics import misfits


def parse(content: bytes) -> ScanReport:
    """Raises Malformed."""
    try:
        return load_scan(content)
    except ValidationError as error:
        raise malformed(error, "a scan's report") from error


def parse_null(content: bytes) -> NullSet:
    """Raises Malformed."""
    try:
        return load_null(content)
    except OptionsRejected as error:
        raise Malformed(f"cannot be used: {error.message}") from error


def check(report: ScanReport) -> Iterator[Finding]:
    """Everything that the report alone can be held to."""
    yield from _inputs(report)
    if report.ca is not None:
        yield from _share("ca", report.ca, most=report.num_held_out)
    for place, found in enumerate(report.hypotheses):
        yield from _hypothesis(f"hypotheses[{place}]", found, report)
    if len(report.examples) > report.options.num_examples:
        yield misfit("examples", "are more than were ordered")
    yield from control.check_scan(report)


def _inputs(report: ScanReport) -> Iterator[Finding]:
    """The figures are of the checkpoint, the images and the seed that the report names."""
    reported = report.statistics
    yield from same("data", [one.kind for one in report.data], ["labelled"])
    yield from same("statistics.weights_sha256", reported.weights_sha256, report.checkpoint.weights_sha256)
    yield from same("statistics.images_sha256", [reported.images_sha256], [one.sha256 for one in report.data])
    yield from same("statistics.seed", reported.seed, report.seed)
    num_images = sum(one.num_samples - one.num_skipped for one in report.data)
    if report.num_inverted_on + report.num_held_out > num_images:
        yield misfit("num_held_out", "counts more images than there are")
    if report.options.class_names == "none" and report.num_classes != 0:
        yield misfit("num_classes", "is not that of a scan without class names")
    weights = None if report.anchor is None else report.anchor.weights_sha256
    yield from same("statistics.anchor_sha256", reported.anchor_sha256, weights)
    yield from _statistics(report)


def _statistics(report: ScanReport) -> Iterator[Finding]:
    """They are what the options ask for, of the images that the report counts."""
    statistics, options = report.statistics, report.options
    for where, what in misfits(statistics, options, report.num_classes):
        yield misfit(f"statistics.{where}", what)
    for place, one in enumerate(statistics.collapse):
        yield from same(f"statistics.collapse[{place}].n", one.n, report.num_held_out)
    if statistics.edits is not None:
        most = min(options.edits.held_out_images, report.num_held_out)
        yield from same("statistics.edits.n", statistics.edits.n, most)


def _share(where: str, share: Estimate, *, most: int) -> Iterator[Finding]:
    if share.n > most:
        yield misfit(f"{where}.n", f"counts {share.n} of {most} held-out images")


def _hypothesis(where: str, found: Hypothesis, report: ScanReport) -> Iterator[Finding]:
    most = report.num_held_out
    for name in ("asr", "pa", "untriggered_target_rate"):
        share = getattr(found, name)
        if share is not None:
            yield from _share(f"{where}.{name}", share, most=most)
    if found.cell is not None:
        yield from _share(f"{where}.cell.asr", found.cell.asr, most=most)
    for number, named in enumerate(found.classes):
        yield from _share(f"{where}.classes[{number}].share", named.share, most=most)
    for number, point in enumerate(found.dose):
        yield from _share(f"{where}.dose[{number}].asr", point.asr, most=most)
    image = base64.b64decode(found.trigger.image)
    if hashlib.sha256(image).hexdigest() != found.trigger.image_sha256:
        yield misfit(f"{where}.trigger.image_sha256", "is not that of the image")


def _judged(report: ScanReport, null: NullSet | None) -> Iterator[Finding]:
    """Judgements and the order of the patterns, worked out again from the statistics of this model and of the
    null's, by the code of whoever checks."""
    try:
        expected = rejudged(report, null)
    except (ArithmeticError, LookupError, ValueError):
        yield misfit("hypotheses", "are not what the detectors' statistics lead to")
        return
    yield from _same_fields("null", report.null, expected.null)
    yield from same("judgements", len(report.judgements), len(expected.judgements))
    for where in ("judgements", "hypotheses"):
        pairs = zip(getattr(report, where), getattr(expected, where), strict=False)
        for place, (reported, ours) in enumerate(pairs):
            yield from _same_fields(f"{where}[{place}]", reported, ours)


def _same_fields(where: str, reported: Any, ours: Any) -> Iterator[Finding]:
    if reported is None or ours is None:
        yield from same(where, reported, ours)
    else:
        for name in (field.name for field in fields(ours)):
            yield from same(f"{where}.{name}", getattr(reported, name), getattr(ours, name))


def check_files(report: ScanReport, folder: CheckedFolder) -> Iterator[Finding]:
    """The null beside it."""
    yield from check_null(report, folder.read(NULL_NAME, parse_null, MAX_NULL_BYTES))


def check_null(report: ScanReport, null: NullSet | None) -> Iterator[Finding]:
    """Whether the null beside the report is the one that it names, and was measured in the same way."""
    used = report.null
    if used is None and null is not None:
        yield misfit("null", f"does not agree with {NULL_NAME}")
        return
    if used is not None and null is None:
        yield misfit("null", f"cannot be checked: {NULL_NAME} is missing or damaged")
        return
    yield from _judged(report, null)
    if null is None:
        return
    yield from same("null", report.statistics.class_names_sha256, null.class_names_sha256)
    scan = ScanToJudge(
        architecture=report.checkpoint.architecture,
        class_names=(),
        images_sha256=report.statistics.images_sha256,
        options=report.options,
        seed=report.seed,
        anchor_sha256=report.statistics.anchor_sha256,
    )
    for what in differences(null, scan):
        if what != "class list":  # by its digest, above: the report does not hold every name
            yield misfit("null", f"was measured with another {what}")
