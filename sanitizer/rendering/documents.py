"""The pages of a report, ready to be written: names and bytes. The same report gives the same bytes."""

from __future__ import annotations

from cleanclip.spec.jobspec import REPORT_HTML_NAME, REPORT_MARKDOWN_NAME
from cleanclip.spec.report import Report
from cleanclip.spec.scan_report import ScanReport
from cleanclip.spec.vet_report import VET_HTML_NAME, VetReport
from sanitizer.rendering import checked_report
from sanitizer.rendering.html import render_html
from sanitizer.rendering.markdown import render_markdown
from sanitizer.rendering.scan import render_scan_html, render_scan_markdown
from sanitizer.rendering.vetting import render_vet_html


def pages(report: Report | ScanReport | VetReport) -> dict[str, bytes]:
    """report.html and report.md; of a vetting vet_report.html. Raises ReportRejected where the report
    contradicts itself."""
    if isinstance(report, VetReport):
        return {VET_HTML_NAME: render_vet_html(report).encode()}
    checked_report.check(report)
    if isinstance(report, ScanReport):
        return {
            REPORT_HTML_NAME: render_scan_html(report).encode(),
            REPORT_MARKDOWN_NAME: render_scan_markdown(report).encode(),
        }
    return {
        REPORT_HTML_NAME: render_html(report).encode(),
        REPORT_MARKDOWN_NAME: render_markdown(report).encode(),
    }
