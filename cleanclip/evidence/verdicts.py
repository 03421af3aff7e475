"""Whether a report's verdict is the one that follows from its figures: every outcome and every sentence."""

from __future__ import annotations

from collections.abc import Iterator

from cleanclip.evidence.findings import Finding, misfit
from cleanclip.spec.judging import judge
from cleanclip.spec.report import AttackVerdict, Report


def check(report: Report) -> Iterator[Finding]:
    """The judge is ours, and so are its sentences: a schema of reports has these and no others."""
    told, names = report.verdict, [attack.name for attack in report.before.attacks]
    if [one.attack for one in told.attacks] != names:
        yield misfit("verdict.attacks", "are not the attacks that were measured")
        return
    try:
        expected = judge(
            before=report.before,
            after=report.after,
            ca_lost=report.ca_lost,
            gate=report.audit.gate,
            policy=report.policy,
            limits_below_gate=told.limits_below_gate,
            rebound=report.rebound,
            scan=report.scan,
        )
    except (ArithmeticError, LookupError, ValueError) as error:
        yield misfit("verdict", f"follows from no figures of this kind: {error}")
        return
    for index, (part, right) in enumerate(zip(told.attacks, expected.attacks, strict=True)):
        yield from _part(f"verdict.attacks[{index}]", part, right)
    if (told.clean_accuracy is None) != (expected.clean_accuracy is None):
        yield misfit("verdict.clean_accuracy", "belongs to a cleaning")
    elif told.clean_accuracy is not None and expected.clean_accuracy is not None:
        yield from _part("verdict.clean_accuracy", told.clean_accuracy, expected.clean_accuracy)
    if len(told.rebound) != len(expected.rebound):
        yield misfit("verdict.rebound", "belongs to a rebound that was measured")
    for index, (part, right) in enumerate(zip(told.rebound, expected.rebound, strict=False)):
        yield from _part(f"verdict.rebound[{index}]", part, right)
    if told.outcome != expected.outcome:
        yield misfit("verdict.outcome", f"is {told.outcome}, but its parts make {expected.outcome}")
    elif told.reason != expected.reason:
        yield misfit("verdict.reason", f"is not: {expected.reason}")


def _part(where: str, told: AttackVerdict, expected: AttackVerdict) -> Iterator[Finding]:
    for name in ("attack", "judged", "reason"):
        if getattr(told, name) != getattr(expected, name):
            yield misfit(f"{where}.{name}", "does not follow from the figures")
    if told.outcome != expected.outcome:
        yield misfit(f"{where}.outcome", f"is {told.outcome}, but the figures make {expected.outcome}")
