"""What a finished scan found, for its page: one sentence, one number, one image, one plot; then the rest.

Computes no figure: all are taken from the report as the job wrote it. Strings of a report are untrusted.
"""

from dataclasses import dataclass

from app.storage.port import ObjectStore
from app.web.jobs.job_result import fetch
from cleanclip.face.drawn import Drawn
from cleanclip.face.scan import control_part, limits, scan_sections
from cleanclip.vocabulary import scan_report
from cleanclip.vocabulary.verdicts import MEANINGS, scan_headline

_MOODS = {"bad": "bad", "open": "warn", "good": "good"}


@dataclass(frozen=True, kw_only=True)
class FoundPattern:
    """One hypothesis."""

    hypothesis: scan_report.Hypothesis

    @property
    def family(self) -> str:
        return self.hypothesis.trigger.family.name

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
    found: tuple[FoundPattern, ...]
    control: Drawn
    sections: Drawn
    """What report.html holds, part by part."""
    limits: tuple[str, ...]
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
        found=tuple(FoundPattern(hypothesis=one) for one in report.hypotheses),
        control=control_part(report),
        sections=scan_sections(report),
        limits=limits(report),
    )
