"""Whether what a report says of its targets fits: which class each attack leads to, and the floor under it.

The floor is what the same class is called without a trigger: of the audit's own target beside the other
figures, of each class that only an attack names in `further_targets`.
"""

from __future__ import annotations

from collections.abc import Iterator

from cleanclip.evidence.findings import Finding, misfit
from cleanclip.evidence.report import AttackFigures, AuditFigures, Estimate, Report, TargetFigures


def floors(figures: AuditFigures, report: Report) -> dict[str | None, TargetFigures]:
    """By target, the audit's own first."""
    own = TargetFigures(
        target=report.audit.target,
        untriggered_target_rate=figures.untriggered_target_rate,
        untriggered_target_top_k=figures.untriggered_target_top_k,
        untriggered_target_rank=figures.untriggered_target_rank,
    )
    return {one.target: one for one in (own, *figures.further_targets)}


def rate_under(attack: AttackFigures, figures: AuditFigures, report: Report) -> Estimate:
    """How often the attack's target is called without its trigger; of a target without floor the audit's."""
    found = floors(figures, report).get(attack.target)
    return found.untriggered_target_rate if found else figures.untriggered_target_rate


def check(where: str, figures: AuditFigures, report: Report) -> Iterator[Finding]:
    """Targets of one audit against what was ordered, and floors against targets."""
    ordered = [options.get("target") or report.audit.target for options in report.audit.attacks]
    for index, (attack, expected) in enumerate(zip(figures.attacks, ordered, strict=False)):
        # A report from before attacks had their own does not tell.
        if (attack.target or report.audit.target) != expected:
            yield misfit(f"{where}.attacks[{index}].target", "is not the one that was ordered")
    further = [target for target in dict.fromkeys(ordered) if target != report.audit.target]
    if [one.target for one in figures.further_targets] != further:
        yield misfit(f"{where}.further_targets", "are not those of its attacks")
