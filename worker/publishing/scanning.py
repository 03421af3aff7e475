"""The report of a scan from what its child left: checked, and written by us.

The child read untrusted weights, so its report is checked against the order, the input and the null as
they were before it ran. What is left to believe is what it measured, which `cleanclip.evidence.scans` holds
to itself and to the null.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

from app.db.repositories.attempt_values import NewVerdict
from app.domain.verdicts import VerdictOutcome, VerdictStage
from cleanclip.evidence import scans
from cleanclip.vocabulary.found_triggers import rewritten
from cleanclip.vocabulary.jobspec import NULL_NAME, REPORT_NAME, ScanSpec
from cleanclip.vocabulary.null_set import dump_null, names_sha256
from cleanclip.vocabulary.recipe import to_json
from cleanclip.vocabulary.report_inputs import CheckpointInput
from cleanclip.vocabulary.scan_judging import candidates
from cleanclip.vocabulary.scan_report import DetectorJudgement, Hypothesis, ScanReport, load_scan
from cleanclip.vocabulary.scan_warnings import repeated_names
from cleanclip.vocabulary.settled import SettledArchitecture
from sanitizer.scans.words import words
from worker.failures import outputs_rejected
from worker.publishing.checking import check_findings, check_input, check_pairs, input_pairs, read_json
from worker.publishing.shown import shown_control
from worker.staging.known import Known


def null_beside(known: Known) -> dict[str, bytes]:
    """The null that the scan was judged by, as a file of the job."""
    return {} if known.null is None else {NULL_NAME: dump_null(known.null)}


def check_scan(raw: bytes, spec: ScanSpec, known: Known, at: datetime) -> ScanReport:
    """report.json with everything that we know, and every sentence, written by us. Raises AttemptFailed."""
    report = read_json(REPORT_NAME, raw, load_scan)
    settled = _settled(report.conditions.settled, known.checkpoint, known, spec)
    if known.anchor is not None:
        anchor = replace(known, config=known.anchor_config)
        anchored = _settled(report.conditions.anchor_settled, known.anchor, anchor, spec)
        known = replace(known, anchor=anchored)
    known = replace(known, checkpoint=settled)
    check_pairs(_pairs(report, spec, known))
    check_findings([*scans.check(report), *scans.check_null(report, known.null)])
    _check_names(report, spec, known)  # of statistics that are there: names are looked up by their numbers
    return replace(
        report,
        created_at=at,
        origin=known.origin,
        null=report.null and replace(report.null, chosen=known.null_chosen),
        hypotheses=tuple(map(_rewritten, report.hypotheses)),
    )


def _settled(
    reported: SettledArchitecture | None, came_in: CheckpointInput, known: Known, spec: ScanSpec
) -> CheckpointInput:
    """What came in, under the settings that its images fit; of a model at chance as it was read."""
    if reported is None:
        return came_in
    return check_input(replace(known, checkpoint=came_in), reported, seed=spec.seed)


def _rewritten(found: Hypothesis) -> Hypothesis:
    """With the pattern's pixels in a file of ours: what an audit decodes no child has written."""
    pattern = found.trigger.pattern
    if pattern is None:
        return found
    try:
        return replace(found, trigger=replace(found.trigger, pattern=rewritten(pattern)))
    except ValueError as error:
        raise outputs_rejected("a pattern of its figures does not fit into a file") from error


def _pairs(report: ScanReport, spec: ScanSpec, known: Known) -> Iterator[tuple[str, object, object]]:
    """What the report says, and what we know of the same."""
    yield "seed", report.seed, spec.seed
    yield "options", report.options, spec.scan
    yield from input_pairs(report, known)
    yield "null", report.null is not None, known.null is not None
    yield "anchor", report.anchor, known.anchor
    if known.class_names is not None:
        names = scanned_names(spec, known)
        yield "num_classes", report.num_classes, len(names)
        repeated, reported = repeated_names(names), report.conditions
        ours = (next(iter(repeated), None), len(repeated))
        yield "conditions.repeated", (reported.repeated, reported.num_repeated), ours
        yield "statistics.class_names_sha256", report.statistics.class_names_sha256, names_sha256(names)


def scanned_names(spec: ScanSpec, known: Known) -> tuple[str, ...]:
    """The class list of the scan."""
    if spec.scan.class_names == "none":
        return ()
    return (*(known.class_names or ()), *spec.scan.further_classes)


def _check_names(report: ScanReport, spec: ScanSpec, known: Known) -> None:
    """Only classes that the scan has are named: they stand in pages, and are untrusted words."""
    if known.class_names is None:
        return
    names = scanned_names(spec, known)
    scanned, labelled = set(names), set(known.class_names)
    target_of = {(one.detector, one.family): one.target for one in candidates(report.statistics)}
    for found in report.hypotheses:
        number = target_of.get((found.detector, found.trigger.family))
        if found.target != (None if number is None else names[number]):
            raise outputs_rejected("its figures name another class than its statistics")
    true_classes = (one.true_class for one in report.examples)
    if not (scanned.issuperset(_predicted(report)) and labelled.issuperset(true_classes)):
        raise outputs_rejected("its figures name a class that the scan does not have")
    led = zip(report.control, report.statistics.collapse, strict=False)
    if any(reported.class_name != names[measured.most_sent[0]] for reported, measured in led):
        raise outputs_rejected("its figures name another class than its statistics")
    if not {*words()}.issuperset(named.word for one in report.hypotheses for named in one.words):
        raise outputs_rejected("its figures name a word that no vocabulary has")


def _predicted(report: ScanReport) -> Iterator[str]:
    for one in report.hypotheses:
        yield from (named.class_name for named in one.classes)
        if one.target is not None:
            yield one.target
    for example in report.examples:
        yield from filter(None, (example.clean_class, example.triggered_class))


def without_time(report: ScanReport) -> ScanReport:
    """What two scans of the same model have in common."""
    return replace(report, statistics=replace(report.statistics, wall_s=0.0))


def scan_verdict(report: ScanReport) -> NewVerdict:
    """Of the weights that came in. What counts as tested are the families of patterns."""
    return NewVerdict(
        stage=VerdictStage.SCAN,
        weights_sha256=report.checkpoint.weights_sha256,
        outcome=VerdictOutcome(report.verdict.outcome),
        num_triggers=len(_families(report)),
    )


def _families(report: ScanReport) -> set[str]:
    reported = report.statistics
    edits = [one.edit for figures in (reported.edits, reported.residual) if figures for one in figures.edits]
    return {one.family.name for one in reported.collapse} | {one.name for one in edits}


def shown_scan(report: ScanReport) -> dict[str, Any]:
    """What the API shows: no image, and no figure of each model of the null."""
    return {
        "verdict": to_json(report.verdict),
        "p_value": report.p_value,
        "null": None if report.null is None else to_json(report.null),
        "judgements": [_shown_judgement(one) for one in report.judgements],
        "hypotheses": [_shown_hypothesis(one) for one in report.hypotheses],
        "control": [shown_control(one) for one in report.control],
        "ca": None if report.ca is None else to_json(report.ca),
        "num_held_out": report.num_held_out,
    }


def _shown_judgement(one: DetectorJudgement) -> dict[str, Any]:
    return {name: value for name, value in to_json(one).items() if name != "others"}


def _shown_hypothesis(one: Hypothesis) -> dict[str, Any]:
    reported = to_json(one)
    for name in ("trigger", "classes"):
        del reported[name]
    if one.cell is not None:
        del reported["cell"]["examples"]
    return reported | {"family": one.trigger.family.name, "words": [named.word for named in one.words]}
