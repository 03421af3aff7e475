"""A report's figures in the order in which they stand in a page: first page, clean pictures, each trigger."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from cleanclip.spec.attack_options import without_picture
from cleanclip.spec.report import (
    MOST_ATTACKS_IN_FRONT,
    AttackChange,
    AttackFigures,
    AuditFigures,
    Report,
)
from cleanclip.spec.strangers import name, rows
from cleanclip.spec.untested import quoted, targets_of
from sanitizer.rendering.sentences import OUTCOME_WORDS, trigger
from sanitizer.rendering.table_rows import Row, Share, rank_row, shares, top_k_rows

PROBE_ACCURACY = "Linear probe, accuracy"


@dataclass(frozen=True, kw_only=True)
class Attack:
    """All that is said of one trigger."""

    title: str
    trigger: str
    target: str
    outcome: str
    reason: str
    rows: tuple[Row, ...]
    options: list[tuple[str, str]]
    trigger_sha256: str
    change: AttackChange | None
    """None where nothing was cleaned, and in reports from before it was told."""
    path: str
    """Of the change."""
    is_printed: bool
    """On paper only the worst ones stand; the page on a screen and report.json have all."""


def front(report: Report) -> tuple[list[Row], int]:
    """CA, then ASR and PA of the worst attacks, and how many attacks are left out."""
    chosen = report.worst_attacks(MOST_ATTACKS_IN_FRONT)
    found = [_row(report, "CA", "pictures without a trigger, given their true class", "ca")]
    for number in chosen:
        attack = _led(report, number)
        found += [
            _of_attack(report, number, f"ASR {attack}", "with the trigger, called the target", "asr"),
            _of_attack(report, number, f"PA {attack}", "with the trigger, given their true class", "pa"),
        ]
    return found, len(report.before.attacks) - len(chosen)


def _led(report: Report, number: int) -> str:
    """The attack's name, and where it leads if not all lead to one class."""
    attack = name(report.before.attacks[number].name)
    if len(targets_of(report.audit)) == 1:
        return attack
    return f"{attack} to {quoted([target_of(report, number)])}"


def target_of(report: Report, number: int) -> str:
    """The class that the attack of that number leads to."""
    return report.audit.attacks[number].target or report.audit.target


def front_ranks(report: Report) -> list[Row]:
    """The place of the target, without a trigger and with the worst attacks."""
    chosen = report.worst_attacks(MOST_ATTACKS_IN_FRONT)
    floors = [row for row in without_trigger(report) if row.ranks]
    return [
        *floors,
        *(row for number in chosen for row in _rank_of_attack(report, number, _led(report, number))),
    ]


def without_trigger(report: Report) -> list[Row]:
    """What was measured on pictures without a trigger."""
    own = quoted([report.audit.target]) if report.before.further_targets else "Target"
    title = f"{own} without trigger"
    return [
        _row(report, "CA", "given their true class", "ca"),
        _row(report, "CA top-5", "true class among the first five", "ca_top5"),
        _row(report, title, "of other classes, called the target", "untriggered_target_rate"),
        *top_k_rows(
            title,
            "of other classes, the target",
            [
                (f"{side}.untriggered_target_top_k", audit.untriggered_target_top_k)
                for side, audit in _audits(report)
            ],
        ),
        *rank_row(
            title,
            "of other classes, place of the target: 1 is the first",
            [
                (f"{side}.untriggered_target_rank", audit.untriggered_target_rank)
                for side, audit in _audits(report)
            ],
        ),
        *_probe_accuracy(report),
        *itertools.chain.from_iterable(
            _of_further_target(report, number) for number in range(len(report.before.further_targets))
        ),
    ]


@dataclass(frozen=True, kw_only=True)
class LowClass:
    """Clean accuracy of one class, before and, where there was a cleaning, after."""

    class_name: str
    shares: tuple[Share, ...]


def lowest_classes(report: Report) -> list[LowClass]:
    """Those with the lowest accuracy of the model that is handed out, or was audited; lowest first."""
    return [
        LowClass(
            class_name=report.before.ca_per_class[place].class_name,
            shares=tuple(
                Share(
                    path=f"{side}.ca_per_class.{place}.accuracy", estimate=audit.ca_per_class[place].accuracy
                )
                for side, audit in _audits(report)
            ),
        )
        for place in (report.after or report.before).lowest_classes()
    ]


def _of_further_target(report: Report, number: int) -> list[Row]:
    """The floors of a target that only attacks name."""
    sides = [
        (f"{side}.further_targets.{number}", audit.further_targets[number]) for side, audit in _audits(report)
    ]
    title = f"{quoted([sides[0][1].target])} without trigger"
    top_k = [(f"{path}.untriggered_target_top_k", told.untriggered_target_top_k) for path, told in sides]
    return [
        Row(
            title=title,
            meaning="of other classes, called so",
            shares=shares(sides, "untriggered_target_rate"),
        ),
        *top_k_rows(title, "of other classes, this", top_k),
        *rank_row(
            title,
            "of other classes, place of this: 1 is the first",
            [(f"{path}.untriggered_target_rank", told.untriggered_target_rank) for path, told in sides],
        ),
    ]


def _rank_of_attack(report: Report, number: int, title: str) -> list[Row]:
    sides = [
        (f"{side}.attacks.{number}.target_rank", audit.attacks[number].target_rank)
        for side, audit in _audits(report)
    ]
    return rank_row(title, "not of the target, place of the target: 1 is the first", sides)


def _audits(report: Report) -> list[tuple[str, AuditFigures]]:
    sides = (("before", report.before), ("after", report.after))
    return [(side, audit) for side, audit in sides if audit is not None]


def attacks(report: Report) -> list[Attack]:
    """Every trigger with every figure."""
    found = []
    printed = report.worst_attacks(MOST_ATTACKS_IN_FRONT)
    for number, (was, told) in enumerate(zip(report.before.attacks, report.verdict.attacks, strict=True)):
        figures = (
            _of_attack(report, number, "ASR", "not of the target, called the target", "asr"),
            _of_attack(
                report, number, "ASR, target class included", "all, called the target", "asr_including_target"
            ),
            *top_k_rows(
                "ASR",
                "not of the target, which is",
                [
                    (f"{side}.attacks.{number}.asr_top_k", audit.attacks[number].asr_top_k)
                    for side, audit in _audits(report)
                ],
            ),
            *_rank_of_attack(report, number, "Target"),
            _of_attack(report, number, "PA", "all, given their true class", "pa"),
            *_towards_rows(report, number),
            *_probe_rows(report, number),
        )
        found.append(
            Attack(
                title=name(was.name),
                trigger=trigger(report.audit, number),
                target=quoted([target_of(report, number)]),
                outcome=_outcome(report, number),
                reason=told.reason,
                rows=figures,
                options=rows(without_picture(_without_target(was.options))),
                trigger_sha256=was.trigger_sha256,
                change=report.change_of(number),
                path=f"attack_changes.{number}",
                is_printed=number in printed,
            )
        )
    return found


def _towards_rows(report: Report, number: int) -> list[Row]:
    """The class that triggered images go to most, and the same images without the trigger."""
    sides = [
        (f"{side}.attacks.{number}.towards", audit.attacks[number].towards) for side, audit in _audits(report)
    ]
    if any(found is None for _, found in sides):
        return []
    called = quoted([found.class_name for _, found in sides[:1] if found is not None])
    return [
        Row(
            title=f"Most are called {called}",
            meaning="of other classes, called so with the trigger",
            shares=shares(sides, "triggered"),
        ),
        Row(
            title=f"{called} without trigger",
            meaning="the same images, called so without it",
            shares=shares(sides, "untriggered"),
        ),
    ]


def _without_target(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name != "target"}


def front_probe(report: Report) -> list[Row]:
    """The linear probe, without a trigger and with the worst attacks; empty where none was ordered."""
    found = [row for row in without_trigger(report) if row.title == PROBE_ACCURACY]
    for number in report.worst_attacks(MOST_ATTACKS_IN_FRONT):
        rows_of_attack = _probe_rows(report, number)
        found += [replace(row, title=f"{row.title}, {_led(report, number)}") for row in rows_of_attack]
    return found


def _probe_accuracy(report: Report) -> list[Row]:
    sides = [(f"{side}.linear_probe", audit.linear_probe) for side, audit in _audits(report)]
    if report.before.linear_probe is None:
        return []
    return [Row(title=PROBE_ACCURACY, meaning="given their true class", shares=shares(sides, "accuracy"))]


def _probe_rows(report: Report, number: int) -> list[Row]:
    sides = [
        (f"{side}.attacks.{number}.linear_probe", audit.attacks[number].linear_probe)
        for side, audit in _audits(report)
    ]
    if report.before.attacks[number].linear_probe is None:
        return []
    told = {
        "asr": ("Linear probe, ASR", "not of the target, called the target"),
        "untriggered_target_rate": ("Linear probe without trigger", "of other classes, called the target"),
        "pa": ("Linear probe, PA", "all, given their true class"),
    }
    return [
        Row(title=title, meaning=meaning, shares=shares(sides, figure))
        for figure, (title, meaning) in told.items()
    ]


def _outcome(report: Report, number: int) -> str:
    told = report.verdict.attacks[number].outcome
    return "works" if report.kind == "audit" and told == "fail" else OUTCOME_WORDS[told]


def _row(report: Report, title: str, meaning: str, figure: str) -> Row:
    return Row(
        title=title,
        meaning=meaning,
        shares=shares([("before", report.before), ("after", report.after)], figure),
    )


def _of_attack(report: Report, number: int, title: str, meaning: str, figure: str) -> Row:
    sides: list[tuple[str, AttackFigures | None]] = [
        (f"before.attacks.{number}", report.before.attacks[number]),
        (f"after.attacks.{number}", report.after.attacks[number] if report.after else None),
    ]
    return Row(title=title, meaning=meaning, shares=shares(sides, figure))
