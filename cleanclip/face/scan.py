"""The page of a scan: one sentence, one number, the found trigger on images, this model in the null."""

from collections.abc import Iterator
from typing import Literal

from cleanclip.face.html import drawn
from cleanclip.face.markdown import code, control_table, text
from cleanclip.face.page import Page
from cleanclip.face.plots import null_plot
from cleanclip.vocabulary import control
from cleanclip.vocabulary.measures import Estimate
from cleanclip.vocabulary.recipe import to_json
from cleanclip.vocabulary.scan_report import WHO_MEASURED, Hypothesis, ScanReport
from cleanclip.vocabulary.untrusted import rows
from cleanclip.vocabulary.verdicts import MEANINGS

_MEANING = {
    "collapse": "how alike images look under a pattern, and how far its restarts agree on a class",
    "edits": "how many more images a known edit leads to one class",
    "residual": "what an edit of the image changes for this model and not for the anchor",
}


_TITLES = {"fail": "The trigger that was found", "controlled": "The pattern that controls this model"}
"""Of its first pattern, by the outcome."""


def scan_page(report: ScanReport) -> Page:
    """One sentence, one number, the found trigger on images, the null and this model in it."""
    first = report.hypotheses[0] if report.hypotheses else None
    weights = report.checkpoint.weights_sha256
    outcome = report.verdict.outcome
    words = {"first": first, "report": report, "share": share, "beside": beside}
    return Page(
        report=report,
        title="Scan for triggers",
        about="Scan of a CLIP checkpoint",
        subject=("Weights", weights),
        mood=MEANINGS[outcome].mood,
        headline=report.headline,
        figure=(report.number, report.number_words),
        sentences=(report.verdict.sentence,),
        lead=drawn("scan_lead.html.j2", title=_TITLES.get(outcome, "The most conspicuous pattern"), **words),
        front=drawn("control.html.j2", control=control.table(report.control)),
        remarks=report.warnings,
        sections=drawn(
            "scan_sections.html.j2",
            cell=_cell_of,
            meanings=_MEANING,
            plot=null_plot(report),
            options=rows(to_json(report.options)),
            **words,
        ),
        limits=_limits(report),
        short=lambda: [*control_table(report.control), *_patterns(report), *_null(report)],
        digests=[("weights", weights)],
    )


def _patterns(report: ScanReport) -> Iterator[str]:
    """In Markdown, with the words that are nearest."""
    if not report.hypotheses:
        return
    lines = ["| pattern | target | words | ASR | without it | PA |", "|---|---|---|---|---|---|"]
    lines += [_row(one) for one in report.hypotheses]
    lines += [
        f"\nASR by dose of {one.trigger.family.name}: {one.dose_words}"
        for one in report.hypotheses
        if one.dose
    ]
    yield f"Measured on held-out images. {WHO_MEASURED}\n\n" + "\n".join(lines)


def _null(report: ScanReport) -> Iterator[str]:
    null = report.null
    if null is not None:
        yield (
            f"Null set {code(null.name)}: {null.num_models} models, SHA-256 {code(null.sha256)}. "
            f"{text(null.about)} {null.why}".rstrip()
        )


def _limits(report: ScanReport) -> tuple[str, ...]:
    """What it does not show, whatever it found."""
    semantic = (
        "of triggers that depend on what an image shows it finds those like an edit of its bank alone."
        if report.options.uses_edits
        else "triggers that depend on what an image shows are not among them."
    )
    return (
        "A scan that finds nothing does not show that the model is clean: it looks for patterns of these "
        f"families and sizes only; {semantic}",
        "Nor does it look for a wording of the caption.",
        "The image is a pattern that works like a trigger. The attacker's own trigger may look different.",
        "Universal adversarial patterns work on models that were never poisoned. Only the comparison with "
        "such models separates them from a backdoor.",
        WHO_MEASURED,
    )


def share(estimate: Estimate | None) -> str:
    """In words, also where there is none."""
    return "not measured" if estimate is None else estimate.words


def beside(found: Hypothesis, name: Literal["asr", "pa"]) -> str:
    """ "clean models' median 21.0 % (n = 20)"; empty without a null."""
    return "" if found.null_figures is None else found.null_figures.words(name)


def _cell_of(found: Hypothesis) -> str:
    """In which images it works, where not in all."""
    if found.cell is None:
        return ""
    return f"In images of one kind, cell {found.cell.number}: ASR {share(found.cell.asr)}."


def _row(found: Hypothesis) -> str:
    words = ", ".join(named.word for named in found.words)
    asr = " · ".join(filter(None, (share(found.asr), beside(found, "asr"))))
    pa = " · ".join(filter(None, (share(found.pa), beside(found, "pa"))))
    target = "" if found.target is None else code(found.target)
    cells = [found.trigger.family.name, target, text(words), asr, share(found.untriggered_target_rate), pa]
    return f"| {' | '.join(cells)} |"
