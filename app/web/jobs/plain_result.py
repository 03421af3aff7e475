"""What a finished job of a kind without a page of its own found: its headline, and its report's parts."""

from dataclasses import dataclass
from functools import partial

from app.storage.port import ObjectStore
from app.web.jobs.job_result import fetch
from cleanclip.face.drawn import Drawn
from cleanclip.face.plain import plain_sections
from cleanclip.vocabulary.report_kinds import PlainReport, load_plain


@dataclass(frozen=True, kw_only=True)
class PlainResult:
    """A report, as its page shows it."""

    report: PlainReport
    headline: str
    sections: Drawn
    """What report.html holds, part by part."""
    template: str = "job_plain.html"


def read_plain(store: ObjectStore, key: str, kind: type[PlainReport]) -> PlainResult:
    """The report under this key. Raises ReportUnreadable, with a sentence that says why."""
    report = fetch(store, key, partial(load_plain, kind))
    return PlainResult(report=report, headline=f"{report.headline}.", sections=plain_sections(report))
