"""The pages of a report, ready to be written: names and bytes. The same report gives the same bytes."""

from cleanclip.face.reports import render
from cleanclip.vocabulary.jobspec import REPORT_HTML_NAME, REPORT_MARKDOWN_NAME
from cleanclip.vocabulary.report_kinds import AnyReport
from sanitizer.rendering import checked_report


def pages(report: AnyReport) -> dict[str, bytes]:
    """report.html and report.md. Raises ReportRejected where the report contradicts itself."""
    checked_report.check(report)
    html, markdown = render(report)
    return {REPORT_HTML_NAME: html.encode(), REPORT_MARKDOWN_NAME: markdown.encode()}
