"""What a finished vetting found, for its page: how many samples, how much is known, the worst samples.

Computes no figure: all are taken from the report as the job wrote it. Captions and keys are untrusted words.
"""

from dataclasses import dataclass

from app.storage.port import ObjectStore
from app.web.jobs.job_result import fetch
from cleanclip.face.drawn import Drawn
from cleanclip.face.vetting import vet_sections
from cleanclip.vocabulary.vet_report import VetReport, load_vet_report


@dataclass(frozen=True, kw_only=True)
class VetResult:
    """A report, as its page shows it."""

    report: VetReport
    headline: str
    known: str
    """How much of our own poison is in the list, in a sentence."""
    sections: Drawn
    """What report.html holds, part by part."""
    template: str = "job_vet.html"


def read_vet(store: ObjectStore, key: str) -> VetResult:
    """The report under this key. Raises ReportUnreadable, with a sentence that says why."""
    return vet_result(fetch(store, key, load_vet_report))


def vet_result(report: VetReport) -> VetResult:
    """Everything that the page shows of a vetting."""
    return VetResult(
        report=report,
        headline=f"{report.headline}.",
        known=report.recalls[0],
        sections=vet_sections(report),
    )
