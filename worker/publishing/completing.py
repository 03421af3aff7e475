"""The files of an audit or a cleaning from what its child left: checked, written by us, completed by fresh
children. What is wrong here fails the job; a page that cannot be drawn does not.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from cleanclip.vocabulary.inspection_phrases import LEFT_OUT
from cleanclip.vocabulary.jobspec import (
    AS_UPLOADED,
    CHECKPOINT_PATH,
    CONFIG_NAME,
    CURVE_NAME,
    REPORT_HTML_HEAD,
    REPORT_HTML_NAME,
    REPORT_MARKDOWN_NAME,
    REPORT_NAME,
    REPORT_PATH,
    WEIGHTS_NAME,
    GiveBackSpec,
    JudgedSpec,
    PagesSpec,
)
from cleanclip.vocabulary.recipe import Recipe, to_json
from cleanclip.vocabulary.report import Report, curve_json, dump_json
from worker.confinement.outcome import Wanted
from worker.failures import AttemptFailed, outputs_rejected
from worker.publishing.checking import check_cleaned_config, check_report
from worker.publishing.ending import Ending, Publication, Stated, row_of
from worker.publishing.fresh_child import Fresh
from worker.publishing.packing import Packing
from worker.publishing.rechecking import confirm
from worker.publishing.shown import shown_control, shown_figures, shown_rebound
from worker.publishing.verdicts import judged_alone, verdicts_of
from worker.staging.known import Known
from worker.staging.weights import check_weights

_MAX_PAGE_BYTES = 32 * 2**20
_REFUSALS = frozenset({"outputs_rejected", "report_malformed", "report_inconsistent", "report_too_large"})
"""Of a fresh child: it says that what it was given is not what it should be, or left what it should not."""
_PAGES: Wanted = {REPORT_HTML_NAME: _MAX_PAGE_BYTES, REPORT_MARKDOWN_NAME: _MAX_PAGE_BYTES}


def end_judged(work: Publication) -> Ending:
    """Check the report and the files beside it, have them confirmed where that is due, and add what follows.

    Raises AttemptFailed, Stopped, OSError.
    """
    packing, spec = work.packing, work.spec(JudgedSpec)
    report = check_report(
        packing.path(REPORT_NAME).read_bytes(),
        spec,
        work.known,
        cleaned_sha256=packing.sha256.get(WEIGHTS_NAME),
        at=work.at,
        uses_cuda=work.fresh.uses_cuda,
    )
    if spec.recipe is not None:
        _check_cleaned(packing, spec.recipe, work.known, report)
    report, recheck = confirm(work, report)
    if spec.output_layout == "as_uploaded":
        notes = _give_back(packing, work.known, work.fresh)
        report = replace(report, as_uploaded=notes)
    packing.add(REPORT_NAME, dump_json(report))
    draw_pages(work)
    return Ending(
        result=judgement(report),
        verdicts=tuple(verdicts_of(report)),
        stated=Stated(report=report, recheck=recheck),
    )


def judgement(report: Report) -> dict[str, Any]:
    """Verdict and figures of a report as the API shows them: training, inputs, images stay in the file.

    Raises AttemptFailed where they are more than a list can carry.
    """
    alone = judged_alone(report.before, report, report.scan)
    return row_of(
        report,
        {
            "verdict": to_json(report.verdict),
            "before": shown_figures(report.before),
            "before_verdict": None if report.after is None else to_json(alone),
            "after": None if report.after is None else shown_figures(report.after),
            "ca_lost": None if report.ca_lost is None else to_json(report.ca_lost),
            "attack_changes": [to_json(change) for change in report.attack_changes],
            "rebound": None if report.rebound is None else shown_rebound(report.rebound),
            "control": []
            if report.control is None
            else [shown_control(one) for one in report.control.families],
            "architecture": to_json(report.architecture),
        },
    )


def _check_cleaned(packing: Packing, recipe: Recipe, known: Known, report: Report) -> None:
    """Weights with the very tensors that came in; beside them two files that follow from what we know."""
    if check_weights(packing.path(WEIGHTS_NAME), known.checkpoint.architecture) != known.tensors:
        raise outputs_rejected(f"its {WEIGHTS_NAME} has other types of numbers than the checkpoint")
    raw = packing.path(CONFIG_NAME).read_bytes()
    packing.add(CONFIG_NAME, check_cleaned_config(raw, recipe, known, report, packing.sha256[WEIGHTS_NAME]))
    if report.training is not None:
        packing.add(CURVE_NAME, curve_json(report.training))


def _give_back(packing: Packing, known: Known, fresh: Fresh) -> tuple[str, ...]:
    """Add the weights in the uploaded layout, or leave them out where that fails; returns sentences on it."""
    inputs = {f"{CHECKPOINT_PATH}/{name}": packing.path(name) for name in (WEIGHTS_NAME, CONFIG_NAME)}
    try:
        left = fresh.run(GiveBackSpec(), inputs, {as_uploaded_name(known): None})
    except AttemptFailed as failure:
        if failure.code in _REFUSALS:
            raise
        return (LEFT_OUT(code=failure.code),)
    packing.take(left.files)
    return left.notes


def as_uploaded_name(known: Known) -> str:
    """Of the file in the uploaded layout."""
    upload = known.config["checkpoint"]["upload"]
    if upload["container"] == "safetensors":
        return f"{AS_UPLOADED}.safetensors"
    return f"{AS_UPLOADED}.bin" if upload["layout"] == "huggingface" else f"{AS_UPLOADED}.pt"


def draw_pages(work: Publication) -> None:
    """report.html and report.md; they are a view of report.json and can be drawn again at any time.

    So a renderer that fails leaves them out, with a warning. One that refuses has found that the report
    contradicts itself, and nothing of the job is believed.
    """
    packing = work.packing
    try:
        left = work.fresh.run(PagesSpec(), {REPORT_PATH: packing.path(REPORT_NAME)}, _PAGES)
    except AttemptFailed as failure:
        if failure.code in _REFUSALS:
            raise outputs_rejected(
                f"its {REPORT_NAME} cannot be shown honestly ({failure.code})"
            ) from failure
        work.tracker.note(
            "warning",
            f"The report's pages could not be drawn ({failure.code}) and are left out; "
            "report.json is complete. "
            "Draw them from it: python -m sanitizer report report.json",
        )
        return
    _check_page(next(path for path in left.files if path.name == REPORT_HTML_NAME))
    packing.take(left.files)


def _check_page(path: Path) -> None:
    """People open the page in a browser: of one that could run or load anything, nothing is handed out."""
    head = REPORT_HTML_HEAD.encode()
    with path.open("rb") as file:
        if file.read(len(head)) != head:
            raise outputs_rejected("its page does not begin as every page of a report does")
