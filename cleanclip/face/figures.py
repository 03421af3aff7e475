"""A report's figures in the order in which they stand in a page: first page, clean images, each trigger."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from cleanclip.face.sentences import trigger
from cleanclip.face.table_rows import Row, Share, row_of
from cleanclip.vocabulary.attack_options import without_image
from cleanclip.vocabulary.audit_figures import AttackChange, AuditFigures
from cleanclip.vocabulary.figures import of_attack, of_model, with_target
from cleanclip.vocabulary.report import MOST_ATTACKS_IN_FRONT, Report
from cleanclip.vocabulary.untested import quoted
from cleanclip.vocabulary.untrusted import name, rows


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
    """None where nothing was cleaned."""
    path: str
    """Of the change."""
    is_printed: bool
    """On paper only the worst ones stand; the page on a screen and report.json have all."""


def front(report: Report) -> tuple[list[Row], int]:
    """CA, then ASR and PA of the worst attacks, and how many attacks are left out."""
    chosen = report.worst_attacks(MOST_ATTACKS_IN_FRONT)
    rows = [row_of(line) for line in of_model(report) if line.figure.path == "ca"]
    rows += _of_worst(report, "asr", "pa")
    return rows, len(report.before.attacks) - len(chosen)


def on_withheld(report: Report) -> list[Row]:
    """The same on the withheld images; empty where there are none."""
    if report.withheld is None:
        return []
    beside, _ = front(replace(report, **report.withheld.measured.fields()))
    return [
        replace(row, shares=tuple(replace(one, path=f"withheld.measured.{one.path}") for one in row.shares))
        for row in beside
    ]


def _of_worst(report: Report, *paths: str) -> list[Row]:
    """Some figures of the worst attacks, under their names."""
    return [
        row_of(line, line.title_of(with_target(report, number)))
        for number in report.worst_attacks(MOST_ATTACKS_IN_FRONT)
        for line in of_attack(report, number)
        if line.figure.path in paths
    ]


def target_of(report: Report, number: int) -> str:
    """The class that the attack of that number leads to."""
    return report.before.attacks[number].target


def front_ranks(report: Report) -> list[Row]:
    """The place of the target, without a trigger and with the worst attacks."""
    floors = [row for row in without_trigger(report) if row.ranks]
    return [*floors, *_of_worst(report, "target_rank")]


def front_probe(report: Report) -> list[Row]:
    """The linear probe, without a trigger and with the worst attacks; empty where none was ordered."""
    own = [row_of(line) for line in of_model(report) if line.figure.path == "linear_probe.accuracy"]
    return [
        *own,
        *_of_worst(report, "linear_probe.asr", "linear_probe.untriggered_target_rate", "linear_probe.pa"),
    ]


def without_trigger(report: Report) -> list[Row]:
    """What was measured on images without a trigger."""
    return [row_of(line) for line in of_model(report)]


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


def _audits(report: Report) -> list[tuple[str, AuditFigures]]:
    sides = (("before", report.before), ("after", report.after))
    return [(side, audit) for side, audit in sides if audit is not None]


def attacks(report: Report) -> list[Attack]:
    """Every trigger with every figure."""
    found = []
    printed = report.worst_attacks(MOST_ATTACKS_IN_FRONT)
    for number, (was, part) in enumerate(zip(report.before.attacks, report.verdict.attacks, strict=True)):
        found.append(
            Attack(
                title=name(was.name),
                trigger=trigger(report, number),
                target=quoted([target_of(report, number)]),
                outcome=part.outcome,
                reason=part.reason,
                rows=tuple(row_of(line) for line in of_attack(report, number)),
                options=rows(without_image(_without_target(was.options))),
                trigger_sha256=was.trigger_sha256,
                change=report.change_of(number),
                path=f"attack_changes.{number}",
                is_printed=number in printed,
            )
        )
    return found


def _without_target(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name != "target"}
