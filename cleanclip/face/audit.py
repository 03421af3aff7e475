"""The page of an audit or a cleaning: question, verdict, the three figures, and every part of its report."""

import json
from collections.abc import Sequence
from functools import partial
from typing import Any

from markupsafe import Markup, escape

from cleanclip.face import audit_short, examples, figures, plots, rebound, retrieval, sentences
from cleanclip.face.drawn import Drawn
from cleanclip.face.html import drawn
from cleanclip.face.page import Judged, Page
from cleanclip.vocabulary import control, untested
from cleanclip.vocabulary.attack_options import AttackOptions, without_image
from cleanclip.vocabulary.recipe import to_json
from cleanclip.vocabulary.report import MOST_ATTACKS_IN_FRONT, Report
from cleanclip.vocabulary.report_inputs import WHAT_DANGEROUS_MEANS
from cleanclip.vocabulary.untrusted import rows


def audit_page(report: Report) -> Page:
    """What it found and what its limits make of it. Its parts fit each other: see `check_report`."""
    reported = sentences.headline(report)
    worst, others = _judged(report)
    checkpoint, after = report.checkpoint, report.after
    uploaded = checkpoint.upload_sha256
    return Page(
        report=report,
        title="Backdoor report",
        about=f"{'Cleaning' if report.is_cleaning else 'Audit'} of a CLIP checkpoint",
        subject=("Uploaded file", uploaded) if uploaded else ("Weights", checkpoint.weights_sha256),
        question=sentences.question(report),
        mood=reported.mood,
        headline=reported.label,
        sentences=(reported.sentence,),
        judged=worst,
        judged_too=others,
        remarks=[*report.remarks, *report.warnings],
        front=_front(report),
        sections=_sections(report),
        limits_title="What was not tested",
        limits=untested.not_tested(report),
        first_limit="Any other trigger",
        appendices=drawn("appendices.html.j2", report=report),
        short=partial(audit_short.parts, report),
        digests=[
            *([("uploaded file", uploaded)] if uploaded else []),
            ("weights before", report.before.weights_sha256),
            *([("weights after", after.weights_sha256)] if after else []),
            *((untested.KINDS[one.kind], one.sha256) for one in report.data),
        ],
    )


def _judged(report: Report) -> tuple[list[Judged], list[Judged]]:
    """What is at the top: the worst triggers, rebound, clean accuracy; and the other triggers."""
    triggers = []
    for number, part in enumerate(report.verdict.attacks):
        family = None if report.scan is None else report.scan.family_of(number)
        found = f" ({family}, found by the scan)" if family else ""
        target = report.before.attacks[number].target
        triggers.append(Judged(part.attack, f"{found} to “{target}”", part.outcome, part.reason))
    worst = report.worst_attacks(MOST_ATTACKS_IN_FRONT)
    top = [triggers[number] for number in worst]
    top += [
        Judged(f"{part.attack}, after benign fine-tuning", "", part.outcome, part.reason)
        for part in report.verdict.rebound
    ]
    if (accuracy := report.verdict.clean_accuracy) is not None:
        top.append(Judged("Clean accuracy", "", accuracy.outcome, accuracy.reason))
    return top, [one for number, one in enumerate(triggers) if number not in worst]


def _front(report: Report) -> Drawn:
    """CA, ASR and PA, also on withheld images."""
    rows, num_left_out = figures.front(report)
    return drawn(
        "front.html.j2",
        report=report,
        rows=rows,
        num_left_out=num_left_out,
        num_triggers=len(report.before.attacks),
        on_withheld=figures.on_withheld(report),
        withheld=sentences.withheld(report),
    )


def _sections(report: Report) -> Drawn:
    """What it holds, part by part, each folded."""
    return drawn(
        "sections.html.j2",
        report=report,
        withholds=report.withheld is not None,
        targets=untested.quoted(untested.targets_of(report.audit)),
        without_trigger=figures.without_trigger(report),
        attacks=figures.attacks(report),
        lowest_classes=figures.lowest_classes(report),
        cards=examples.cards(report),
        recall=retrieval.recall(report),
        recall_lost=retrieval.lost(report),
        captions=retrieval.captions(report),
        says_dangerous=any(one.verdict == "dangerous" for one in report.checkpoint.scanners),
        what_dangerous_means=WHAT_DANGEROUS_MEANS,
        kinds=untested.KINDS,
        architecture=rows(report.checkpoint.architecture),
        settled=sentences.settled(report),
        declared=[row for row in rows(to_json(report.checkpoint.declared)) if row[1] != "not set"],
        recipe=rows(to_json(report.recipe)) if report.recipe else [],
        other_limits=sentences.other_limits(report),
        whose_limits=sentences.whose_limits(report),
        whose_options=sentences.whose_options(report),
        method_name=sentences.METHODS[report.recipe.method] if report.recipe else None,
        documents=_documents(report),
        training_files=_training_files(report),
        has_policy=report.policy_source.given != "default",
        has_found=len(_named_attacks(report)) < len(report.audit.attacks),
        has_images=any(hasattr(attack, "image") for attack in _named_attacks(report)),
        rates_plot=plots.rates(report),
        control=control.table(report.control.families) if report.control else None,
        highest=rebound.highest(report),
        rebound_tables=rebound.tables(report),
        relearned=rebound.relearned(report),
        way_back=rebound.way_back(report),
        rebound_plot=plots.rebound(report),
        loss_plot=plots.loss(report.training.curve if report.training else ()),
    )


def _documents(report: Report) -> list[tuple[str, Markup]]:
    """What `python -m sanitizer` needs to do the same again, as files: (name, JSON in ASCII).

    But for images, which would fill the page: with one, audit.json is to be taken from report.json.
    """
    attacks = [without_image(to_json(attack)) for attack in _named_attacks(report)]
    found = {"audit.json": {**to_json(report.audit), "attacks": attacks}}
    if report.policy_source.given != "default":
        found["policy.json"] = to_json(report.policy)
    if report.recipe is not None:
        found["recipe.json"] = to_json(report.recipe)
    declared = {key: value for key, value in to_json(report.checkpoint.declared).items() if value is not None}
    if declared:
        found["declared.json"] = declared
    return [(file, escape(_compact(document))) for file, document in found.items()]


def _named_attacks(report: Report) -> Sequence[AttackOptions]:
    """Attacks of the audit without those of a scan, which the command takes from the scan's report."""
    attacks = report.audit.attacks
    return attacks if report.scan is None else attacks[: report.scan.num_known]


def _training_files(report: Report) -> str:
    """The option that names the training data; "" of an audit."""
    if report.recipe is None:
        return ""
    return " --pairs PAIRS" if report.recipe.training_data == "pairs" else " --training IMAGES"


def _compact(document: dict[str, Any]) -> str:
    """JSON in ASCII, one line for each entry of the outermost object."""
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in document.items()]
    return "{" + ",\n ".join(lines) + "}"
