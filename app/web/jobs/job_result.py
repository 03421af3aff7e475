"""What a finished job found out, in the order of its page: verdict, triggers, clean accuracy, the rest.

Computes no figure: all are taken from the report as the job wrote it. Strings of a report are strangers'.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from app.logs import get_logger
from app.schemas.jobs import ResultOut
from app.storage.errors import SizeMismatch, StorageError
from app.storage.port import ObjectStore
from app.web.jobs.plots import LossPlot, RatesPlot, loss, rates
from cleanclip.spec.attack_options import without_picture
from cleanclip.spec.recipe import to_json
from cleanclip.spec.remarks import remarks
from cleanclip.spec.report import (
    MOST_ATTACKS_IN_FRONT,
    AttackChange,
    AttackFigures,
    AuditFigures,
    Estimate,
    Examples,
    Pair,
    Report,
    TopK,
    headline,
    load_json,
)
from cleanclip.spec.untested import not_tested

MAX_REPORT_BYTES = 8 * 2**20
"""Workers publish no larger one."""

log = get_logger(__name__)

_MOODS = {"pass": "good", "fail": "bad"}
_WORDS = {
    "pass": "within the limit",
    "fail": "over the limit",
    "undecided": "undecided",
    "not_implanted": "not implanted",
}


class ReportUnreadable(Exception):
    """Its message is for the page."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One row of an attack's table; `before` and `after` are shares of the same pictures."""

    title: str
    meaning: str
    before: Estimate
    after: Estimate | None


@dataclass(frozen=True, kw_only=True)
class Attack:
    """All that is said of one trigger."""

    name: str
    target: str
    outcome: str
    word: str
    reason: str
    asr_before: Estimate
    asr_after: Estimate | None
    pa_before: Estimate
    pa_after: Estimate | None
    figures: tuple[Figure, ...]
    options: str
    trigger_sha256: str
    change: AttackChange | None
    """None where nothing was cleaned, and in reports from before it was told."""
    pairs: tuple[Pair, ...]
    """Examples: the same pictures without and with the trigger."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """A report, as its page shows it."""

    report: Report
    mood: str
    label: str
    reason: str
    attacks: tuple[Attack, ...]
    worst: tuple[Attack, ...]
    """Those at the top of the page; `others` are the rest."""
    others: tuple[Attack, ...]
    remarks: list[str]
    untested: list[str]
    rates: RatesPlot
    loss: LossPlot | None
    examples: Examples | None
    options: str

    @property
    def accuracy_word(self) -> str | None:
        """What is said of clean accuracy, in the words of the triggers'."""
        judged = self.report.verdict.clean_accuracy
        return None if judged is None else _WORDS[judged.outcome]


def read_report(store: ObjectStore, key: str) -> Report:
    """The report under this key, whose parts fit each other. Raises ReportUnreadable, as `fetch_report`."""
    report = fetch_report(store, key)
    if not _fits(report):
        raise ReportUnreadable("The report contradicts itself.")
    return report


def fetch_report(store: ObjectStore, key: str) -> Report:
    """The report under this key as it was written. Raises ReportUnreadable, with a sentence that says why."""
    try:
        return load_json(store.read_bytes(key, max_bytes=MAX_REPORT_BYTES))
    except SizeMismatch as error:
        raise ReportUnreadable("The report is too large to be shown here.") from error
    except StorageError as error:
        log.warning("report_not_fetched", reason=str(error)[:300])
        raise ReportUnreadable("The object store did not give the report out just now.") from error
    except ValidationError as error:
        raise ReportUnreadable("The report is of a version that this page does not read.") from error


def _fits(report: Report) -> bool:
    """Whether what is shown side by side is as long as what it stands beside."""
    num_attacks = len(report.before.attacks)
    lengths = {len(report.audit.attacks), len(report.verdict.attacks)}
    if report.after is not None:
        lengths.add(len(report.after.attacks))
    names = [one.name for one in report.after.attacks] if report.after is not None else []
    if report.attack_changes and [one.attack for one in report.attack_changes] != names:
        return False
    if report.examples is not None:
        lengths |= {len(one.triggered) for one in report.examples.examples}
    return lengths == {num_attacks}


def result_of(report: Report) -> Result:
    """Everything that the page shows of a report."""
    outcome = report.verdict.outcome
    after = None if report.after is None else report.after.attacks
    training = report.training
    attacks = tuple(_attack(report, number) for number in range(len(report.before.attacks)))
    front = report.worst_attacks(MOST_ATTACKS_IN_FRONT)
    shown = to_json(report.audit)
    shown["attacks"] = [without_picture(attack) for attack in shown["attacks"]]
    options = {
        "audit": shown,
        "recipe": None if report.recipe is None else to_json(report.recipe),
        "policy": to_json(report.policy),
    }
    return Result(
        report=report,
        mood=_MOODS.get(outcome, "warn"),
        label=_label(report),
        reason=_reason(report),
        attacks=attacks,
        worst=tuple(attacks[number] for number in front),
        others=tuple(attack for number, attack in enumerate(attacks) if number not in front),
        remarks=remarks(report.before, report.after, report.verdict),
        untested=not_tested(report),
        rates=rates(report.audit, report.policy, report.before.attacks, after),
        loss=None if training is None else loss(training.curve),
        examples=report.examples,
        options=json.dumps(options, indent=2, ensure_ascii=False),
    )


def _label(report: Report) -> str:
    is_cleaned, num_triggers = report.kind == "sanitize", report.before.num_triggers
    return f"{headline(report.verdict.outcome, is_cleaned=is_cleaned, num_triggers=num_triggers)}."


def _reason(report: Report) -> str:
    """The report's own, without what the label says already."""
    return report.verdict.reason.removeprefix(f"{_label(report)} ")


def _attack(report: Report, number: int) -> Attack:
    was = report.before.attacks[number]
    now = None if report.after is None else report.after.attacks[number]
    judged = report.verdict.attacks[number]
    word = "works" if report.kind == "audit" and judged.outcome == "fail" else _WORDS[judged.outcome]
    return Attack(
        name=was.name,
        target=report.audit.attacks[number].target or report.audit.target,
        outcome=judged.outcome,
        word=word,
        reason=judged.reason,
        asr_before=was.asr,
        asr_after=None if now is None else now.asr,
        pa_before=was.pa,
        pa_after=None if now is None else now.pa,
        figures=tuple(_figures(report.before, was, report.after, now)),
        options=json.dumps(without_picture(was.options), ensure_ascii=False),
        trigger_sha256=was.trigger_sha256,
        change=report.change_of(number),
        pairs=() if report.examples is None else report.examples.of_attack(number),
    )


def _figures(
    before: AuditFigures, was: AttackFigures, after: AuditFigures | None, now: AttackFigures | None
) -> list[Figure]:
    found = [
        _figure("ASR", "not of the target, called the target", was.asr, now.asr if now else None),
        _figure(
            "ASR, target class included",
            "all, called the target",
            was.asr_including_target,
            now.asr_including_target if now else None,
        ),
        *_top_k(was.asr_top_k, now.asr_top_k if now else ()),
        _figure("PA", "all, given their true class", was.pa, now.pa if now else None),
        _figure(
            "Untriggered target rate",
            "no trigger, of other classes, called the target: the floor under ASR",
            before.floor_under(was),
            after.floor_under(now) if after and now else None,
        ),
    ]
    probe, probe_now = was.linear_probe, now.linear_probe if now else None
    if probe is not None:
        found += [
            _figure(
                "Linear probe, ASR",
                "the same, by a probe on the embeddings",
                probe.asr,
                probe_now.asr if probe_now else None,
            ),
            _figure(
                "Linear probe, PA",
                "all, given their true class",
                probe.pa,
                probe_now.pa if probe_now else None,
            ),
        ]
    return found


def _figure(title: str, meaning: str, before: Estimate, after: Estimate | None) -> Figure:
    return Figure(title=title, meaning=meaning, before=before, after=after)


def _top_k(was: Sequence[TopK], now: Sequence[TopK]) -> list[Figure]:
    after = {one.k: one.share for one in now}
    return [
        _figure(
            f"ASR, top {one.k}",
            f"not of the target, which is among the first {one.k}",
            one.share,
            after.get(one.k),
        )
        for one in was
    ]


def kept_figures(result: dict[str, Any] | None) -> ResultOut | None:
    """What a job found out that has not succeeded; None where there is nothing."""
    return ResultOut.of(result or None)


def first_headline(kept: ResultOut | None) -> str | None:
    """Of a preliminary verdict; None where there is none."""
    if kept is None or kept.before is None or kept.before_verdict is None or not kept.preliminary:
        return None
    triggers = kept.before.num_triggers
    return headline(kept.before_verdict.outcome, is_cleaned=False, num_triggers=triggers)
