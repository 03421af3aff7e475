"""The pages of a scan: one sentence, one number, the found trigger on images, the null and the suspect in it.

As in every page here, untrusted text is made visible and escaped, nothing is loaded and no script runs.
"""

from typing import Literal

from cleanclip.face import sentences
from cleanclip.face.drawn import Drawn
from cleanclip.face.html import environment, made_with
from cleanclip.face.markdown import code, control_table, text
from cleanclip.face.plots import null_plot
from cleanclip.vocabulary import control
from cleanclip.vocabulary.jobspec import REPORT_HTML_HEAD
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


def render_scan_html(report: ScanReport) -> str:
    """The page."""
    page = (
        environment()
        .get_template("scan.html.j2")
        .render(
            report=report,
            created=sentences.time(report.created_at),
            mood=MEANINGS[report.verdict.outcome].mood,
            first=report.hypotheses[0] if report.hypotheses else None,
            control=control_part(report),
            sections=scan_sections(report),
            limits=limits(report),
            made_with=made_with(),
        )
    )
    return REPORT_HTML_HEAD + page.lstrip()


def scan_sections(report: ScanReport) -> Drawn:
    """What it holds, part by part: on its job's page and in report.html."""
    return Drawn(
        environment()
        .get_template("scan_sections.html.j2")
        .render(
            report=report,
            first=report.hypotheses[0] if report.hypotheses else None,
            share=share,
            beside=beside,
            cell=_cell_of,
            meanings=_MEANING,
            plot=null_plot(report),
            options=rows(to_json(report.options)),
        )
    )


def control_part(report: ScanReport) -> Drawn:
    """What the strongest pattern of each family does; empty without class names."""
    template = environment().get_template("control.html.j2")
    return Drawn(template.render(control=control.table(report.control)))


def limits(report: ScanReport) -> tuple[str, ...]:
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


def render_scan_markdown(report: ScanReport) -> str:
    """The short form, to be pasted where Markdown is read."""
    parts = [
        f"## Scan for triggers: {report.verdict.outcome}",
        f"**{text(report.number)}.** {text(report.verdict.sentence)}",
    ]
    parts += control_table(report.control)
    if report.hypotheses:
        lines = ["| pattern | target | words | ASR | without it | PA |", "|---|---|---|---|---|---|"]
        lines += [_row(one) for one in report.hypotheses]
        lines += [
            f"\nASR by dose of {one.trigger.family.name}: {one.dose_words}"
            for one in report.hypotheses
            if one.dose
        ]
        parts.append(f"Measured on held-out images. {WHO_MEASURED}\n\n" + "\n".join(lines))
    if report.null is not None:
        parts.append(
            f"Null set {code(report.null.name)}: {report.null.num_models} models, SHA-256 "
            f"{code(report.null.sha256)}. {text(report.null.about)} {report.null.why}".rstrip()
        )
    if report.warnings:
        parts.append("**Warnings**\n\n" + "\n".join(f"- {text(one)}" for one in report.warnings[:20]))
    parts.append(
        f"Weights {code(report.checkpoint.weights_sha256)}, seed {report.seed}, "
        f"{sentences.time(report.created_at)}. {sentences.signing(report)}"
    )
    return "\n\n".join(parts) + "\n"


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
