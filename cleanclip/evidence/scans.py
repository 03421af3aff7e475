"""report.json of a scan: held to itself, and to the null beside it. Shares follow from counts, ranks from the
figures beside them, the outcome from the p-value.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from statistics import fmean, stdev

from pydantic import ValidationError

from cleanclip.evidence.counted import close, estimate, same
from cleanclip.evidence.findings import NULL_NAME, Finding, misfit
from cleanclip.evidence.reading import Malformed, first_problem
from cleanclip.spec.measures import Estimate
from cleanclip.spec.null_set import NullRefused, NullSet, differences, load_null
from cleanclip.spec.scan_report import (
    DetectorJudgement,
    Hypothesis,
    ScanReport,
    load_scan,
)

CLAIMED = (
    *("num_classes", "num_inverted_on", "num_held_out", "ca", "statistics", "judgements", "null", "p_value"),
    *("hypotheses", "examples", "anchor"),
)
"""The sections that only the process that scanned can know."""


def parse(content: bytes) -> ScanReport:
    """Raises Malformed."""
    try:
        return load_scan(content)
    except ValidationError as error:
        where, what = first_problem(error)
        raise Malformed(f"is not a scan's report that this version reads ({where}: {what})") from error


def parse_null(content: bytes) -> NullSet:
    """Raises Malformed."""
    try:
        return load_null(content)
    except NullRefused as error:
        raise Malformed(f"cannot be used: {error}") from error


def check(report: ScanReport) -> Iterator[Finding]:
    """Everything that the report alone can be held to."""
    yield from _inputs(report)
    if report.ca is not None:
        yield from _share("ca", report.ca, most=report.num_held_out)
    for place, judged in enumerate(report.judgements):
        yield from _judgement(f"judgements[{place}]", judged)
    yield from same("judgements", [one.detector for one in report.judgements], list(report.options.detectors))
    for place, found in enumerate(report.hypotheses):
        yield from _hypothesis(f"hypotheses[{place}]", found, report)
    if len(report.examples) > report.options.num_examples:
        yield misfit("examples", "are more than were ordered")
    yield from _calibration(report)


def _inputs(report: ScanReport) -> Iterator[Finding]:
    """The figures are of the checkpoint, the images and the seed that the report names."""
    told = report.statistics
    yield from same("data", [one.kind for one in report.data], ["labelled"])
    yield from same("statistics.weights_sha256", told.weights_sha256, report.checkpoint.weights_sha256)
    yield from same("statistics.images_sha256", [told.images_sha256], [one.sha256 for one in report.data])
    yield from same("statistics.seed", told.seed, report.seed)
    num_images = sum(one.num_samples - one.num_skipped for one in report.data)
    if report.num_inverted_on + report.num_held_out > num_images:
        yield misfit("num_held_out", "counts more images than there are")
    if report.options.class_names == "none" and report.num_classes != 0:
        yield misfit("num_classes", "is not that of a scan without class names")
    yield from _anchor(report)
    yield from _edits(report)


def _anchor(report: ScanReport) -> Iterator[Finding]:
    """The detector that needs an anchor was given one."""
    figures, anchor = report.statistics, report.anchor
    weights = None if anchor is None else anchor.weights_sha256
    yield from same("statistics.anchor_sha256", figures.anchor_sha256, weights)
    was_run = "residual" in report.options.detectors
    yield from same("statistics.residual", figures.residual is not None, was_run)
    if was_run and anchor is None:
        yield misfit("anchor", "is missing, though the detector residual was run")


def _edits(report: ScanReport) -> Iterator[Finding]:
    """Every edit once; with class names its rise is a count of images that more go to one class."""
    figures, options = report.statistics.edits, report.options
    yield from same("statistics.edits", figures is not None, "edits" in options.detectors)
    if figures is None:
        return
    yield from same("statistics.edits.n", figures.n, min(options.edits.held_out_images, report.num_held_out))
    edits = [one.edit for one in figures.edits]
    if len(set(edits)) < len(edits) or any(edit.edit == "none" for edit in edits):
        yield misfit("statistics.edits.edits", "names an edit twice, or none")
    for place, one in enumerate(figures.edits):
        where = f"statistics.edits.edits[{place}]"
        if not -1 <= one.rise <= 1:
            yield misfit(f"{where}.rise", f"is {one.rise:.6g}, outside -1 to 1")
        if report.num_classes == 0:
            yield from same(f"{where}.towards", one.towards, None)
        else:
            if not close(one.rise * figures.n, round(one.rise * figures.n)):
                yield misfit(f"{where}.rise", f"is {one.rise:.6g}, no count of {figures.n} images")
            if one.towards is None or one.towards >= report.num_classes:
                yield misfit(f"{where}.towards", f"is {one.towards}, of {report.num_classes} classes")


def _share(where: str, share: Estimate, *, most: int) -> Iterator[Finding]:
    yield from estimate(where, share, share.n)
    if share.n > most:
        yield misfit(f"{where}.n", f"counts {share.n} of {most} held-out images")


def _judgement(where: str, judged: DetectorJudgement) -> Iterator[Finding]:
    if not 1 <= judged.rank <= judged.of:
        yield misfit(f"{where}.rank", f"is {judged.rank} of {judged.of}")
    if judged.others:
        yield from same(f"{where}.of", judged.of, len(judged.others) + 1)
        ahead = sum(other >= judged.z for other in judged.others)
        yield from same(f"{where}.rank", judged.rank, ahead + 1)


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


def _calibration(report: ScanReport) -> Iterator[Finding]:
    """A p-value belongs to a null, is none that so many models cannot give, and decides the outcome."""
    null, p = report.null, report.p_value
    if null is None:
        if p is not None:
            yield misfit("p_value", "belongs to a null, and none was used")
    else:
        smallest = 1 / (null.num_models + 1)
        if not close(null.smallest_p, smallest):
            yield misfit("null.smallest_p", f"is {null.smallest_p:.6g}, not {smallest:.6g}")
        if p is None:
            yield misfit("p_value", "is missing, though there is a null")
        else:
            yield from _p_value(report, p, null.num_models)
    fails = p is not None and p <= report.options.significance
    expected = "fail" if fails else "inconclusive"
    if report.verdict.outcome != expected:
        yield misfit("verdict.outcome", f"is {report.verdict.outcome}, but the p-value says {expected}")


def _p_value(report: ScanReport, p: float, num_models: int) -> Iterator[Finding]:
    """Worked out again from the scores of the null's models and of this one, apart from the library: the
    share of the pool that is at least as conspicuous, each model by the detector that sets it apart most.
    """
    pools = [(*judged.others, judged.z) for judged in report.judgements]
    if not pools or {len(pool) for pool in pools} != {num_models + 1}:
        yield misfit("judgements", f"are not of {num_models} models and this one")
        return
    combined = [round(max(_apart(pool, number) for pool in pools), 9) for number in range(num_models + 1)]
    expected = sum(one >= combined[-1] for one in combined) / (num_models + 1)
    if not close(p, expected):
        yield misfit("p_value", f"is {p:.6g}, but the scores of {num_models} models give {expected:.6g}")


def _apart(pool: Sequence[float], number: int) -> float:
    """One model's distance from the mean of the others, in their standard deviations, which count as 1 at
    least."""
    others = [*pool[:number], *pool[number + 1 :]]
    return (pool[number] - fmean(others)) / max(1.0, stdev(others) if len(others) > 1 else 0.0)


def check_null(report: ScanReport, null: NullSet | None) -> Iterator[Finding]:
    """Whether the null beside the report is the one that it names, and was measured in the same way."""
    used = report.null
    if used is None and null is not None:
        yield misfit("null", f"does not agree with {NULL_NAME}")
        return
    if used is not None and null is None:
        yield misfit("null", f"cannot be checked: {NULL_NAME} is missing or damaged")
        return
    for place, found in enumerate(report.hypotheses):
        figures = null and null.figures_of(found.detector, found.trigger.family.group)
        yield from same(f"hypotheses[{place}].null_figures", found.null_figures, figures)
    if used is None or null is None:
        return
    yield from same("null.sha256", used.sha256, null.sha256)
    yield from same("null.name", used.name, null.name)
    yield from same("null.about", used.about, null.about)
    yield from same("null.num_models", used.num_models, len(null.counted))
    yield from same("null", report.statistics.class_names_sha256, null.class_names_sha256)
    differing = differences(
        null,
        architecture=report.checkpoint.architecture,
        class_names=(),
        images_sha256=report.statistics.images_sha256,
        options=report.options,
        seed=report.seed,
        anchor_sha256=report.statistics.anchor_sha256,
    )
    for what in differing:
        if what != "class list":  # by its digest, above: the report does not hold every name
            yield misfit("null", f"was measured with another {what}")
