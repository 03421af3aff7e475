"""The page of a report that is a headline and rows: of a kind of job that has no parts of its own."""

from cleanclip.face.html import drawn
from cleanclip.face.markdown import text
from cleanclip.face.page import Page
from cleanclip.vocabulary.recipe import to_json
from cleanclip.vocabulary.report_kinds import PlainReport, digests
from cleanclip.vocabulary.untrusted import rows


def plain_page(report: PlainReport) -> Page:
    """Its headline, and its rows."""
    title = report.kind.replace("_", " ").capitalize()
    table = ["| figure | value |", "|---|---|", *(f"| {text(a)} | {text(b)} |" for a, b in report.rows)]
    return Page(
        report=report,
        title=title,
        about=f"{title} of a CLIP checkpoint",
        subject=("Weights", report.checkpoint.weights_sha256),
        headline=report.headline,
        remarks=report.warnings,
        sections=drawn(
            "plain_sections.html.j2",
            report=report,
            digests=digests(report),
            options=rows(to_json(report.options)),
        ),
        limits=report.limits,
        short=lambda: ["\n".join(table)],
        digests=[("weights", report.checkpoint.weights_sha256)],
    )
