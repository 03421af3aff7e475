"""Whether a report's verdict follows from its figures, by the rules that the documentation gives.

An attack passes when the upper bound of its ASR after cleaning is within its limit, fails when the lower
bound is over it, is undecided in between, and "not implanted" where its ASR before was under the gate: unless
it is over its limit, and over the rate without a trigger, and limits hold there too. Where all are "not
implanted" the whole is inconclusive, and its reason begins with how many triggers were tested. The numbers in
the sentences must be those of the figures.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from cleanclip.evidence import targets
from cleanclip.evidence.findings import Finding, misfit
from cleanclip.evidence.policies import limit_of
from cleanclip.evidence.report import (
    AttackFigures,
    Estimate,
    Outcome,
    PartOutcome,
    PartVerdict,
    Report,
    Towards,
)

_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
_FORECAST = re.compile(r"About [\d,]+ images")
"""How many images would decide is a forecast, not a figure."""


def check(report: Report) -> Iterator[Finding]:
    """Outcome of each part and of the whole, and every number in their reasons."""
    told = report.verdict
    expected: list[PartOutcome] = []
    names = [attack.name for attack in report.before.attacks]
    if [one.attack for one in told.attacks] != names:
        yield misfit("verdict.attacks", "are not the attacks that were measured")
        return
    for index, (part, was) in enumerate(zip(told.attacks, report.before.attacks, strict=True)):
        now = report.after.attacks[index] if report.after and index < len(report.after.attacks) else None
        expected.append(_outcome(was, now, report))
        led = (was.towards, now.towards_now if now else None)
        names_in_it = [part.attack, *(f"'{one.class_name}'" for one in led if one is not None)]
        shown = _shown_for(was, now, report)
        yield from _part(f"verdict.attacks[{index}]", part, expected[-1], shown, names_in_it)
    yield from _clean_accuracy(report, expected)
    overall = _overall(expected, len(names))
    if told.outcome != overall:
        yield misfit("verdict.outcome", f"is {told.outcome}, but its parts make {overall}")
    if overall == "inconclusive":
        headline = nothing_found(len({attack.trigger_sha256 for attack in report.before.attacks}))
        if not told.reason.startswith(f"{headline}."):
            yield misfit("verdict.reason", f"does not begin with: {headline}")
    else:
        yield from _numbers("verdict.reason", told.reason, names, ())


def nothing_found(num_triggers: int) -> str:
    """The headline of a verdict that is inconclusive."""
    triggers = "1 trigger" if num_triggers == 1 else f"{num_triggers} triggers"
    return f"Nothing found with the {triggers} tested: inconclusive"


def _outcome(was: AttackFigures, now: AttackFigures | None, report: Report) -> PartOutcome:
    if now is not None and works_elsewhere(now, report) is not None:
        return "fail"
    return _by_limit(was, now, report)


def _by_limit(was: AttackFigures, now: AttackFigures | None, report: Report) -> PartOutcome:
    limit = limit_of(report.policy, was.options)
    if was.asr.value < report.audit.gate:
        last, figures = (was, report.before) if now is None or report.after is None else (now, report.after)
        works_in_part = last.asr.low > max(limit, targets.rate_under(last, figures, report).high)
        if report.verdict.limits_below_gate and works_in_part:
            return "fail"
        if works_elsewhere(was, report) is None:
            return "not_implanted"
        if now is not None and now.towards is not None:
            return _against(now.towards.triggered.low, now.towards.triggered.high, limit)
        return "fail" if now is None else "not_implanted"
    if now is None:
        return "fail"
    return _against(now.asr.low, now.asr.high, limit)


def works_elsewhere(attack: AttackFigures, report: Report) -> Towards | None:
    """Where the trigger leads if not to its target: at or over the gate, and more often than without it."""
    found = attack.towards_now or attack.towards
    target = attack.target or report.audit.target
    if found is None or found.class_name == target or found.triggered.value < report.audit.gate:
        return None
    return found if found.triggered.low > found.untriggered.high else None


def _against(low: float, high: float, limit: float) -> PartOutcome:
    if high <= limit:
        return "pass"
    return "fail" if low > limit else "undecided"


def _clean_accuracy(report: Report, expected: list[PartOutcome]) -> Iterator[Finding]:
    """Checks that part, and puts its outcome to `expected`."""
    told, lost = report.verdict.clean_accuracy, report.ca_lost
    if (told is None) != (lost is None):
        yield misfit("verdict.clean_accuracy", "belongs to a cleaning")
    if told is None or lost is None:
        return
    expected.append(_against(lost.low, lost.high, report.policy.ca_lost_at_most))
    shown = [lost.value, lost.low, lost.high, report.policy.ca_lost_at_most]
    numbers = {*map(_percent, shown), str(lost.n)}
    counts = [one.accuracy.n for one in report.after.ca_per_class] if report.after else []
    if report.after and len(counts) > 1 and report.after.ca.low <= max(counts) / sum(counts):
        expected[-1] = "fail"
        ca = report.after.ca
        numbers |= {*map(_percent, (ca.value, ca.low, ca.high, max(counts) / sum(counts))), _count(ca)}
    yield from _part("verdict.clean_accuracy", told, expected[-1], numbers, [told.attack])


def _overall(outcomes: list[PartOutcome], num_attacks: int) -> Outcome:
    if "fail" in outcomes:
        return "fail"
    if all(one == "not_implanted" for one in outcomes[:num_attacks]):
        return "inconclusive"
    return "undecided" if "undecided" in outcomes else "pass"


def _part(
    where: str, told: PartVerdict, expected: PartOutcome, shown: set[str], names: list[str]
) -> Iterator[Finding]:
    if told.outcome != expected:
        yield misfit(f"{where}.outcome", f"is {told.outcome}, but the figures make {expected}")
    yield from _numbers(f"{where}.reason", told.reason, names, shown)


def _shown_for(was: AttackFigures, now: AttackFigures | None, report: Report) -> set[str]:
    floor = targets.rate_under(was, report.before, report)
    estimates = [was.asr, floor, *([now.asr] if now else [])]
    for towards in (was.towards, *((now.towards, now.towards_now) if now else ())):
        estimates += [] if towards is None else [towards.triggered, towards.untriggered]
    shares = [share for one in estimates for share in (one.value, one.low, one.high)]
    limits = [report.audit.gate, limit_of(report.policy, was.options)]
    return {*map(_percent, [*shares, *limits]), *map(_count, estimates)}


def _numbers(where: str, reason: str, names: Iterable[str], shown: Iterable[str]) -> Iterator[Finding]:
    text = _FORECAST.sub("", reason)
    for name in sorted(names, key=len, reverse=True):
        text = text.replace(name, "")
    for number in _NUMBER.findall(text):
        if number not in {"95", *shown}:
            yield misfit(where, f"says {number}, which none of its figures is")


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"


def _count(estimate: Estimate) -> str:
    return str(estimate.n)
