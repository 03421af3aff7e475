"""The pages of a report that is a headline and rows: of a kind of job that has none of its own."""

from cleanclip.face import sentences
from cleanclip.face.drawn import Drawn
from cleanclip.face.html import environment, made_with
from cleanclip.face.markdown import MAX_WARNINGS, code, text
from cleanclip.vocabulary.jobspec import REPORT_HTML_HEAD
from cleanclip.vocabulary.recipe import to_json
from cleanclip.vocabulary.report_kinds import PlainReport, digests
from cleanclip.vocabulary.untrusted import rows


def render_plain_html(report: PlainReport) -> str:
    """The page. The same report gives the same bytes."""
    page = (
        environment()
        .get_template("plain_report.html.j2")
        .render(
            report=report,
            title=report.kind.replace("_", " ").capitalize(),
            created=sentences.time(report.created_at),
            sections=plain_sections(report),
            made_with=made_with(),
        )
    )
    return REPORT_HTML_HEAD + page.lstrip()


def plain_sections(report: PlainReport) -> Drawn:
    """What it holds, part by part: on its job's page and in report.html."""
    template = environment().get_template("plain_sections.html.j2")
    return Drawn(
        template.render(report=report, digests=digests(report), options=rows(to_json(report.options)))
    )


def render_plain_markdown(report: PlainReport) -> str:
    """The short form, to be pasted where Markdown is read."""
    table = ["| figure | value |", "|---|---|", *(f"| {text(a)} | {text(b)} |" for a, b in report.rows)]
    parts = [f"## {text(report.headline)}", "\n".join(table)]
    if report.warnings:
        listed = "\n".join(f"- {text(one)}" for one in report.warnings[:MAX_WARNINGS])
        parts.append(f"**Warnings**\n\n{listed}")
    parts.append(
        f"Weights {code(report.checkpoint.weights_sha256)}, seed {report.seed}, "
        f"{sentences.time(report.created_at)}. {sentences.signing(report)}"
    )
    return "\n\n".join(parts) + "\n"
