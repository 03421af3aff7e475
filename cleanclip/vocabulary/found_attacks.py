"""Which of the triggers that a scan found an audit can take, and what its report says of that scan. Free of
torch.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from cleanclip.vocabulary.attack_options import (
    MAX_ATTACKS,
    MAX_TRIGGER_IMAGES_CHARACTERS,
    SUITES,
    AttackOptions,
    CustomPatchOptions,
    CustomPatternOptions,
    SIGOptions,
    TextTriggerOptions,
)
from cleanclip.vocabulary.control import strongest
from cleanclip.vocabulary.errors import OptionsRejected
from cleanclip.vocabulary.recipe import AuditOptions
from cleanclip.vocabulary.scan_report import ScanReport
from cleanclip.vocabulary.scan_section import FoundPattern, ScanSection

BOTH_SUITES = tuple(dict.fromkeys(attack for suite in SUITES.values() for attack in suite))
"""Audited beside what a cleaning's own scan found, where the order names no trigger."""
KINDS_FOUND = frozenset(
    kind.attack for kind in (CustomPatchOptions, CustomPatternOptions, TextTriggerOptions, SIGOptions)
)
"""The kinds of attacks that a scan finds."""
TARGET_OF_SCAN = "(found by the scan)"
"""Stands for the target of an audit until its scan has found one."""


def scans_first(ordered: bool | None, *named: object) -> bool:
    """Whether a cleaning begins with a scan: as ordered, else where the order has nothing of what is `named`,
    the target and the triggers."""
    return not any(named) if ordered is None else ordered


def check_scan_of(weights_sha256: str, scanned_sha256: str) -> None:
    """A scan's triggers are of the model that it scanned. Raises OptionsRejected `scan_of_another_model`."""
    if scanned_sha256 != weights_sha256:
        raise OptionsRejected(
            "scan_of_another_model",
            "The scan is of another model: its weights have another digest than those of the checkpoint.",
            "Name a scan of this checkpoint, or scan it.",
            where="audit.attacks_from_scan",
        )


def audit_with(
    audit: AuditOptions,
    beside: Sequence[AttackOptions],
    report: ScanReport,
    class_names: Collection[str] | None,
) -> AuditOptions:
    """`audit` of the attacks `beside` and of those that the scan found and that it can take. Where its target
    is TARGET_OF_SCAN: with that of the first pattern that the scan found.

    Raises OptionsRejected (`scan_found_no_target`).
    """
    attacks = (*beside, *fitting(report.attacks(), beside, class_names))
    target = audit.target if audit.target != TARGET_OF_SCAN else _target(report, class_names)
    return replace(audit, target=target, attacks=attacks)


def _target(report: ScanReport, class_names: Collection[str] | None) -> str:
    """That of the first pattern that an audit can use, else of any."""
    targets = [one.target for one in report.attacks()] + [one.target for one in report.hypotheses]
    for target in targets:
        if target is not None and (class_names is None or target in class_names):
            return target
    raise OptionsRejected(
        "scan_found_no_target",
        "The scan found no pattern that leads to a class of the labelled dataset: the audit has no target.",
        "Give the class that you suspect triggers to lead to as the target of the audit.",
        where="audit.target",
    )


def fitting(
    found: Sequence[AttackOptions], beside: Sequence[AttackOptions], class_names: Collection[str] | None
) -> tuple[AttackOptions, ...]:
    """Those of `found` that lead to one of `class_names` (None: not known) and are not in `beside`, the first
    ones as far as one audit carries their images."""
    return tuple(_fitting(found, beside, class_names))


def _fitting(
    found: Sequence[AttackOptions], beside: Sequence[AttackOptions], class_names: Collection[str] | None
) -> Iterator[AttackOptions]:
    room = MAX_TRIGGER_IMAGES_CHARACTERS - sum(map(_image_characters, beside))
    places = MAX_ATTACKS - len(beside)
    for one in found:
        is_known = class_names is None or one.target is None or one.target in class_names
        if is_known and one not in beside and places and _image_characters(one) <= room:
            room -= _image_characters(one)
            places -= 1
            yield one


def only_suites(known: Sequence[AttackOptions]) -> bool:
    """Whether the attacks that are not the scan's are both suites and nothing else."""
    return tuple(known) == BOTH_SUITES


def _image_characters(attack: AttackOptions) -> int:
    return len(getattr(attack, "image", ""))


def section_of(
    report: ScanReport,
    *,
    report_sha256: str,
    attacks: Sequence[AttackOptions],
    num_known: int,
    scan_id: str | None = None,
) -> ScanSection:
    """`attacks` are those of the audit: the ones that the order names, then those that the scan found."""
    options = report.options
    families = [family.name for family in options.families]
    families += ["edits"] if options.uses_edits else []
    number_of = {attack: number for number, attack in enumerate(attacks) if number >= num_known}
    return ScanSection(
        scan_id=scan_id,
        report_sha256=report_sha256,
        weights_sha256=report.checkpoint.weights_sha256,
        p_value=report.p_value,
        significance=options.significance,
        families=tuple(dict.fromkeys(families)),
        num_known=num_known,
        only_suites=only_suites(attacks[:num_known]),
        control=strongest(report.control),
        found=tuple(
            FoundPattern(
                detector=one.detector,
                family=one.trigger.family.name,
                target=one.target,
                attack=None if one.attack is None else number_of.get(one.attack),
            )
            for one in report.hypotheses
        ),
    )
