"""The page of a vetting: how many samples are set aside, and the worst of them. No caption and no key is in
its Markdown."""

from cleanclip.face.html import drawn
from cleanclip.face.page import Page
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


def vet_page(report: VetReport) -> Page:
    """How many samples are set aside, the worst of them, and how they were chosen."""
    lines = ["| score | median | 99 % are below | highest | decisive |", "|---|---|---|---|---|"]
    lines += [
        f"| {TITLES[one.name]} | {one.vetted.median:.4g} | {one.vetted.q99:.4g} | {one.vetted.high:.4g} "
        f"| {one.num_decisive} |"
        for one in report.scores
    ]
    return Page(
        report=report,
        title="Vetting",
        about="Vetting of a dataset",
        subject=("Dataset", report.vetted.sha256),
        headline=report.headline,
        sentences=(report.what_it_says, *report.recalls),
        lead=drawn("vet_lead.html.j2", report=report, titles=TITLES),
        remarks=report.warnings,
        sections=drawn(
            "vet_sections.html.j2",
            report=report,
            titles=TITLES,
            meanings=MEANINGS,
            digests=_digests(report),
            options=rows(report.shown_options),
        ),
        limits=report.limits,
        short=lambda: ["\n".join(lines)],
        digests=[("dataset", report.vetted.sha256), ("weights", report.checkpoint.weights_sha256)],
    )


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
