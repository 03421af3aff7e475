"""The pages of a report, ready to be written: names and bytes. The same report gives the same bytes."""

from collections.abc import Callable
from typing import Any

from cleanclip.face.html import render_html
from cleanclip.face.markdown import render_markdown
from cleanclip.face.plain import render_plain_html, render_plain_markdown
from cleanclip.face.scan import render_scan_html, render_scan_markdown
from cleanclip.face.vetting import render_vet_html, render_vet_markdown
from cleanclip.vocabulary.jobspec import REPORT_HTML_NAME, REPORT_MARKDOWN_NAME
from cleanclip.vocabulary.report_kinds import AnyReport, PlainReport
from sanitizer.rendering import checked_report

_Pair = tuple[Callable[[Any], str], Callable[[Any], str]]
_AUDITS: _Pair = (render_html, render_markdown)
_PLAIN: _Pair = (render_plain_html, render_plain_markdown)
_PAGES: dict[str, _Pair] = {
    "scan": (render_scan_html, render_scan_markdown),
    "vet": (render_vet_html, render_vet_markdown),
}
"""Kind of report → what draws its two pages, where it has its own."""


def pages(report: AnyReport) -> dict[str, bytes]:
    """report.html and report.md. Raises ReportRejected where the report contradicts itself."""
    checked_report.check(report)
    default = _PLAIN if isinstance(report, PlainReport) else _AUDITS
    html, markdown = _PAGES.get(report.kind, default)
    return {REPORT_HTML_NAME: html(report).encode(), REPORT_MARKDOWN_NAME: markdown(report).encode()}
