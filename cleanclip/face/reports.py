"""What draws each kind of report."""

from cleanclip.face.audit import audit_page
from cleanclip.face.page import Page, render_html, render_markdown
from cleanclip.face.plain import plain_page
from cleanclip.face.scan import scan_page
from cleanclip.face.vetting import vet_page
from cleanclip.vocabulary.report import Report
from cleanclip.vocabulary.report_kinds import AnyReport, PlainReport
from cleanclip.vocabulary.scan_report import ScanReport
from cleanclip.vocabulary.vet_report import VetReport


def page_of(report: AnyReport) -> Page:
    """What it says."""
    match report:
        case Report():
            return audit_page(report)
        case ScanReport():
            return scan_page(report)
        case VetReport():
            return vet_page(report)
        case PlainReport():
            return plain_page(report)


def render(report: AnyReport) -> tuple[str, str]:
    """report.html and report.md of a report that has been checked: see `checked_report`."""
    page = page_of(report)
    return render_html(page), render_markdown(page)
