"""What a finished scan found, for its page: one sentence, one number, one image, one plot; then the rest.

Computes no figure: all are taken from the report as the job wrote it. Strings of a report are strangers'.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from app.storage.port import ObjectStore
from app.web.jobs.job_result import fetch
from cleanclip.spec import scan_report
from cleanclip.spec.control import Table, table
from cleanclip.spec.dots import Dot, dots
from cleanclip.spec.plain_images import read_image
from cleanclip.spec.recipe import to_json
from cleanclip.spec.verdicts import MEANINGS, scan_headline

_WIDTH, _LEFT, _RIGHT, _ROW = 420, 14, 406, 64
_MOODS = {"bad": "bad", "open": "warn", "good": "good"}
_NOTHING_FOUND = (
    "A scan that finds nothing does not show that the model is clean: it looks for patterns of these "
    "families and sizes only; "
)
_NO_SEMANTIC = "triggers that depend on what an image shows are not among them."
_SOME_SEMANTIC = (
    "of triggers that depend on what an image shows it finds those only that are like an edit of its bank."
)
_NOT_THE_ATTACKERS = (
    "The image is a pattern that works like a trigger. The attacker's own trigger may look different."
)


@dataclass(frozen=True, kw_only=True)
class Dots:
    """One detector: the null's models as dots on a line, each with how many it stands for, this model as a
    diamond under it. Places in the drawing."""

    name: str
    y: float
    others: tuple[Dot, ...]
    suspect: float


@dataclass(frozen=True, kw_only=True)
class DotPlot:
    """`words` say the same as the drawing."""

    rows: tuple[Dots, ...]
    ticks: tuple[tuple[float, str], ...]
    height: float
    bottom: float
    words: str
    width: int = _WIDTH


@dataclass(frozen=True, kw_only=True)
class Sides:
    """One test image without and with the first trigger, as addresses of data."""

    example: scan_report.ScanExample
    clean_uri: str
    triggered_uri: str


@dataclass(frozen=True, kw_only=True)
class FoundPattern:
    """One hypothesis, its image as an address of data."""

    hypothesis: scan_report.Hypothesis
    uri: str
    family: str

    @property
    def target(self) -> str:
        words = ", ".join(named.word for named in self.hypothesis.words[:3])
        return self.hypothesis.target or words or "not named"


@dataclass(frozen=True, kw_only=True)
class ScanResult:
    """A report, as its page shows it."""

    report: scan_report.ScanReport
    mood: str
    label: str
    number: str
    number_words: str
    found: tuple[FoundPattern, ...]
    sides: tuple[Sides, ...]
    plot: DotPlot | None
    limits: Sequence[str]
    options: str
    control: Table | None
    template: str = "job_scan.html"


def read_scan(store: ObjectStore, key: str) -> ScanResult:
    """The report under this key. Raises ReportUnreadable, with a sentence that says why."""
    return scan_result(fetch(store, key, scan_report.load_scan))


def scan_result(report: scan_report.ScanReport) -> ScanResult:
    """Everything that the page shows of a scan."""
    outcome = report.verdict.outcome
    return ScanResult(
        report=report,
        mood=_MOODS[MEANINGS[outcome].mood],
        label=f"{scan_headline(outcome, has_null=report.null is not None)}.",
        number=report.number,
        number_words=_number_words(report),
        found=tuple(
            FoundPattern(hypothesis=one, uri=_uri(one.trigger.image), family=one.trigger.family.name)
            for one in report.hypotheses
        ),
        sides=tuple(
            Sides(example=one, clean_uri=_uri(one.clean), triggered_uri=_uri(one.triggered))
            for one in report.examples
        ),
        plot=_plot(report.judgements),
        limits=(
            _NOTHING_FOUND + (_SOME_SEMANTIC if report.options.uses_edits else _NO_SEMANTIC),
            _NOT_THE_ATTACKERS,
            scan_report.WHO_MEASURED,
        ),
        control=table(report.control),
        options=json.dumps(to_json(report.options), indent=2, ensure_ascii=False),
    )


def _number_words(report: scan_report.ScanReport) -> str:
    """What the one number of the page means."""
    if report.null is None:
        strongest = "By the strongest pattern that was found. " if report.control else ""
        return f"{strongest}No null was used, so there is no p-value: nothing says how rare such a model is."
    return (
        f"Of {report.null.num_models} models that were never poisoned and this one, this share looks at "
        "least as conspicuous."
    )


def _uri(image: str) -> str:
    return f"data:{read_image(image).media_type};base64,{image}"


def _plot(judgements: Sequence[scan_report.DetectorJudgement]) -> DotPlot | None:
    """None where there is no null to show."""
    shown = [one for one in judgements if one.others and math.isfinite(one.z)]
    if not shown:
        return None
    values = [one.z for one in shown] + [other for one in shown for other in one.others]
    low, high = min(values), max(values)
    span = (high - low) or 1.0

    def at(value: float) -> float:
        return round(_LEFT + (_RIGHT - _LEFT) * (value - low) / span, 1)

    rows = tuple(
        Dots(
            name=f"{one.detector}: {one.what}"[:60],
            y=_ROW * number,
            others=dots(map(at, one.others)),
            suspect=at(one.z),
        )
        for number, one in enumerate(shown)
    )
    bottom = _ROW * len(rows)
    return DotPlot(
        rows=rows,
        ticks=tuple((at(value), f"{value:.3g}") for value in (low, high)),
        height=bottom + 24,
        bottom=bottom,
        words=" ".join(
            f"{one.detector} ({one.what}): this model is {one.rank} of {one.of}, at {one.z:.3g}; "
            f"{one.standing}; the highest of them is {max(one.others):.3g}."
            for one in shown
        ),
    )
