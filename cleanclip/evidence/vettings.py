"""report.json of a vetting, held to itself. What lies beside it: `cleanclip.evidence.vetted_files`.

Counts and every sentence follow from the options and the inputs, a combined p-value from those of its scores.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from pydantic import ValidationError

from cleanclip.evidence.counted import close, same
from cleanclip.evidence.findings import Finding, misfit
from cleanclip.evidence.reading import malformed
from cleanclip.spec.errors import OptionsRejected
from cleanclip.spec.vet_plan import plan
from cleanclip.spec.vet_report import (
    LEVELS,
    NAMED_BY,
    Quantiles,
    ScoreSummary,
    VetReport,
    WorstSample,
    load_vet_report,
)

MOST = 0.95
"""A larger p counts as this when several are combined: see `sanitizer.vetting.conformal`."""


def parse(content: bytes) -> VetReport:
    """Raises Malformed."""
    try:
        return load_vet_report(content)
    except ValidationError as error:
        raise malformed(error, "a vetting's report") from error


def check(report: VetReport) -> Iterator[Finding]:
    """Everything that the report alone can be held to."""
    yield from _inputs(report)
    yield from same(
        "set_aside.num", report.set_aside.num, max(1, int(report.options.share * report.set_aside.of))
    )
    names = [one.name for one in report.scores]
    try:
        planned = plan(report.options, has_anchor=report.anchor is not None)
    except OptionsRejected:
        yield misfit("options", "ask for scores that cannot be made")
        return
    yield from same("scores", names, list(planned.made))
    left_out = [(one.name, one.reason) for one in report.not_computed]
    yield from same("not_computed", left_out, list(planned.left_out))
    yield from same("warnings", list(report.warnings), list(report.expected_warnings()))
    for place, score in enumerate(report.scores):
        yield from _score(f"scores[{place}]", score, report)
    yield from _levels(report)
    for place, measured in enumerate(report.measured):
        if measured.recall.n > report.num_calibration:
            yield misfit(f"measured[{place}].recall.n", "counts more samples than are trusted")
    yield from _worst(report, names)


def _inputs(report: VetReport) -> Iterator[Finding]:
    kinds = [one.kind for one in report.data]
    if kinds[0] not in {"pairs", "labelled"} or kinds[1:] not in ([], ["trusted"]):
        yield misfit("data", "is not what a vetting reads")
    trusted = report.trusted
    if trusted is None:
        yield from same("num_fit", report.num_fit, 0)
        return
    good = trusted.num_samples - trusted.num_skipped
    yield from same("num_fit", report.num_fit, good // 2)
    yield from same("num_calibration", report.num_calibration, good - good // 2)
    if trusted.num_samples > report.options.max_trusted:
        yield misfit("data[1].num_samples", "counts more samples than max_trusted allows")


def _score(where: str, score: ScoreSummary, report: VetReport) -> Iterator[Finding]:
    by = "suspect" if report.anchor is None else NAMED_BY.get(score.name, "suspect")
    yield from same(f"{where}.by", score.by, by)
    yield from _quantiles(f"{where}.vetted", score.vetted)
    if (score.trusted is not None) != (report.basis == "p_values"):
        yield misfit(f"{where}.trusted", "does not agree with the basis")
    if score.trusted is not None:
        yield from same(f"{where}.trusted.n", score.trusted.n, report.num_calibration)
        yield from _quantiles(f"{where}.trusted", score.trusted)


def _quantiles(where: str, told: Quantiles) -> Iterator[Finding]:
    in_order = [told.low, told.median, told.q95, told.q99, told.high]
    if in_order != sorted(in_order):
        yield misfit(where, "has quantiles out of order")


def _levels(report: VetReport) -> Iterator[Finding]:
    if report.basis == "ranks":
        yield from same("levels", report.levels, ())
        return
    yield from same("levels", tuple(one.level for one in report.levels), LEVELS)
    counts = [one.num for one in report.levels]
    if counts != sorted(counts) or max(counts, default=0) > report.set_aside.of:
        yield misfit("levels", "count more samples at a lower level, or more than there are")
    for place, one in enumerate(report.levels):
        if not close(one.expected, one.level * report.set_aside.of):
            yield misfit(f"levels[{place}].expected", "is not the level's share of the samples")


def _worst(report: VetReport, names: Sequence[str]) -> Iterator[Finding]:
    expected = min(report.options.num_shown, report.set_aside.num)
    yield from same("worst", len(report.worst), expected)
    yield from same("worst", len({one.index for one in report.worst}), len(report.worst))
    combined = [one.combined for one in report.worst]
    if combined != sorted(combined):
        yield misfit("worst", "is not in order, the worst first")
    for place, sample in enumerate(report.worst):
        yield from _sample(f"worst[{place}]", sample, report, names)


def _sample(where: str, sample: WorstSample, report: VetReport, names: Sequence[str]) -> Iterator[Finding]:
    if sample.index >= report.vetted.num_samples:
        yield misfit(f"{where}.index", "is beyond the end of the dataset")
    yield from same(f"{where}.scores", [one.name for one in sample.scores], list(names))
    shares = [one.p for one in sample.scores]
    if not all(is_share(p, report) for p in shares):
        yield misfit(f"{where}.scores", "hold a p-value or rank that so many samples cannot give")
    if shares and not close(sample.combined, combined_of(shares)):
        yield misfit(f"{where}.combined", "does not follow from its scores")


def is_share(p: float, report: VetReport) -> bool:
    """Whether so many samples can give such a p-value, or rank as a share: a whole number of them."""
    num = report.set_aside.of if report.basis == "ranks" else report.num_calibration + 1
    return 1 <= round(p * num) <= num and close(p * num, round(p * num))


def combined_of(shares: Sequence[float]) -> float:
    """Cauchy's combination, worked out again apart from the library."""
    mean = sum(math.tan((0.5 - min(p, MOST)) * math.pi) for p in shares) / len(shares)
    return 0.5 - math.atan(mean) / math.pi
