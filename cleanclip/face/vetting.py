"""The pages of a vetting, as `rendering.html` makes those of audits; captions are untrusted and escaped
alike."""

from cleanclip.face import sentences
from cleanclip.face.drawn import Drawn
from cleanclip.face.html import environment, made_with
from cleanclip.face.markdown import MAX_WARNINGS, code, text
from cleanclip.vocabulary.jobspec import REPORT_HTML_HEAD
from cleanclip.vocabulary.untrusted import rows
from cleanclip.vocabulary.vet_options import ScoreName
from cleanclip.vocabulary.vet_report import VetReport

TITLES: dict[ScoreName, str] = {
    "local_density": "Local density",
    "disagreement": "Disagreement",
    "residual": "Residual",
    "trigger_direction": "Trigger direction",
    "mismatch": "Mismatch",
    "sensitivity": "Sensitivity",
}
MEANINGS: dict[ScoreName, str] = {
    "local_density": "the image has few neighbours, its neighbours have many",
    "disagreement": "the suspect believes the caption, the anchor does not",
    "residual": "the suspect sees what the anchor does not",
    "trigger_direction": "the image lies where a known trigger moves images",
    "mismatch": "the caption does not fit the image",
    "sensitivity": "one part of the image decides its embedding",
}


def render_vet_html(report: VetReport) -> str:
    """The page. The same report gives the same bytes."""
    page = (
        environment()
        .get_template("vet_report.html.j2")
        .render(
            report=report,
            created=sentences.time(report.created_at),
            titles=TITLES,
            sections=vet_sections(report),
            made_with=made_with(),
        )
    )
    return REPORT_HTML_HEAD + page.lstrip()


def vet_sections(report: VetReport) -> Drawn:
    """What it holds, part by part: on its job's page and in report.html."""
    return Drawn(
        environment()
        .get_template("vet_sections.html.j2")
        .render(
            report=report,
            titles=TITLES,
            meanings=MEANINGS,
            digests=_digests(report),
            options=rows(report.shown_options),
        )
    )


def render_vet_markdown(report: VetReport) -> str:
    """The short form, to be pasted where Markdown is read. No caption and no key is in it."""
    lines = ["| score | median | 99 % are below | highest | decisive |", "|---|---|---|---|---|"]
    lines += [
        f"| {TITLES[one.name]} | {one.vetted.median:.4g} | {one.vetted.q99:.4g} | {one.vetted.high:.4g} "
        f"| {one.num_decisive} |"
        for one in report.scores
    ]
    parts = [
        f"## Vetting: {report.headline}",
        text(report.what_it_says),
        "\n".join(lines),
        *(text(one.sentence) for one in report.measured),
    ]
    if report.warnings:
        listed = "\n".join(f"- {text(one)}" for one in report.warnings[:MAX_WARNINGS])
        parts.append(f"**Warnings**\n\n{listed}")
    parts.append(
        f"Dataset {code(report.vetted.sha256)}, weights {code(report.checkpoint.weights_sha256)}, seed "
        f"{report.seed}, {sentences.time(report.created_at)}. {sentences.signing(report)}"
    )
    return "\n\n".join(parts) + "\n"


def _digests(report: VetReport) -> list[tuple[str, str]]:
    trusted = [] if report.trusted is None else [("Trusted dataset", report.trusted.sha256)]
    anchor = [] if report.anchor is None else [("Weights of the anchor", report.anchor.weights_sha256)]
    return [
        ("Dataset", report.vetted.sha256),
        *trusted,
        ("Weights of the suspect", report.checkpoint.weights_sha256),
        *anchor,
        ("excluded.json", report.list_sha256),
        ("vet_scores.jsonl.gz", report.scores_sha256),
    ]
