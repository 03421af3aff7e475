"""What draws each kind of report: its two pages, and what its job's page takes from them."""

from cleanclip.face import html, markdown, page
from cleanclip.face.page import Page
from cleanclip.face.plain import plain_page
from cleanclip.face.scan import scan_page
from cleanclip.face.vetting import vet_page
from cleanclip.vocabulary.report import Report
from cleanclip.vocabulary.report_kinds import AnyReport, PlainReport
from cleanclip.vocabulary.scan_report import ScanReport
from cleanclip.vocabulary.vet_report import VetReport


def page_of(report: ScanReport | VetReport | PlainReport) -> Page:
    """What it says."""
    match report:
        case ScanReport():
            return scan_page(report)
        case VetReport():
            return vet_page(report)
        case PlainReport():
            return plain_page(report)


def render(report: AnyReport) -> tuple[str, str]:
    """report.html and report.md of a report that has been checked: see `checked_report`."""
    if isinstance(report, Report):
        return html.render_html(report), markdown.render_markdown(report)
    found = page_of(report)
    return page.render_html(found), page.render_markdown(found)
