"""Whether a report's verdict follows from its figures, and every number in its sentences is one of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from cleanclip.evidence.findings import Finding, misfit
from cleanclip.spec.attack_options import kind_of_json
from cleanclip.spec.judging import judge
from cleanclip.spec.report import AttackFigures, AttackVerdict, Estimate, Report, Towards
from cleanclip.spec.verdict_texts import NOT_JUDGED
from cleanclip.spec.verdicts import headline

_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
_FORECAST = re.compile(r"About [\d,]+ images")
"""How many images would decide is a forecast, not a figure."""


def check(report: Report) -> Iterator[Finding]:
    """Outcome of each part and of the whole, and the numbers in their reasons."""
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
        led = [towards.class_name for attack in _sides(report, index) for towards in _led(attack)]
        names_in_it = [part.attack, *(f"'{one}'" for one in led)]
        yield from _part(f"verdict.attacks[{index}]", part, right, _shown_for(report, index), names_in_it)
    if (told.clean_accuracy is None) != (expected.clean_accuracy is None):
        yield misfit("verdict.clean_accuracy", "belongs to a cleaning")
    elif told.clean_accuracy is not None and expected.clean_accuracy is not None:
        yield from _part(
            "verdict.clean_accuracy",
            told.clean_accuracy,
            expected.clean_accuracy,
            _shown_for_accuracy(report),
            [told.clean_accuracy.attack],
        )
    if len(told.rebound) != len(expected.rebound):
        yield misfit("verdict.rebound", "belongs to a rebound that was measured")
    for index, (part, right) in enumerate(zip(told.rebound, expected.rebound, strict=False)):
        yield from _part(f"verdict.rebound[{index}]", part, right, _shown_for_rebound(report, index), names)
    if told.outcome != expected.outcome:
        yield misfit("verdict.outcome", f"is {told.outcome}, but its parts make {expected.outcome}")
        return
    is_cleaned, num_triggers = report.after is not None, report.before.num_triggers(expected.attacks)
    found = headline(expected.outcome, is_cleaned=is_cleaned, num_triggers=num_triggers)
    if not told.reason.startswith(f"{found}."):
        yield misfit("verdict.reason", f"does not begin with: {found}")
    yield from _numbers("verdict.reason", told.reason.removeprefix(found), names, ())


def _part(
    where: str, told: AttackVerdict, expected: AttackVerdict, shown: set[str], names: list[str]
) -> Iterator[Finding]:
    if told.outcome != expected.outcome:
        yield misfit(f"{where}.outcome", f"is {told.outcome}, but the figures make {expected.outcome}")
    if told.judged != expected.judged or (told.reason == NOT_JUDGED) == expected.judged:
        yield misfit(f"{where}.judged", "does not follow from the scan that found the attack")
    yield from _numbers(f"{where}.reason", told.reason, names, shown)


def _sides(report: Report, index: int) -> list[AttackFigures]:
    return [audit.attacks[index] for audit in (report.before, report.after) if audit is not None]


def _led(attack: AttackFigures) -> list[Towards]:
    return [attack.towards, *([attack.towards_now] if attack.towards_now else [])]


def _shown_for(report: Report, index: int) -> set[str]:
    sides = _sides(report, index)
    estimates = [report.before.floor_under(sides[0])]
    for attack in sides:
        estimates += [attack.asr, *(one for led in _led(attack) for one in (led.triggered, led.untriggered))]
    limit = report.policy.limit_of(kind_of_json(sides[0].options))[1]
    return _spelled(estimates, report.audit.gate, limit)


def _shown_for_accuracy(report: Report) -> set[str]:
    lost, after = report.ca_lost, report.after
    if lost is None or after is None:
        return set()
    others = (lost.value, lost.low, lost.high, report.policy.ca_lost_at_most, after.commonest_class or 0.0)
    return {*_spelled([after.ca], *others), str(lost.n)}


def _shown_for_rebound(report: Report, index: int) -> set[str]:
    was, rebound = report.before.attacks[index], report.rebound
    if rebound is None:
        return set()
    highest = rebound.highest[index]
    limit = report.policy.rebound_limit_of(kind_of_json(was.options))[1]
    counts = {str(highest.num_points), str(highest.step), *_NUMBER.findall(f"{highest.rate:g}")}
    return counts | _spelled([was.asr, highest.asr], report.audit.gate, limit)


def _spelled(estimates: list[Estimate], *others: float) -> set[str]:
    shares = [share for one in estimates for share in (one.value, one.low, one.high)]
    return {*(f"{100 * share:.2f}" for share in (*shares, *others)), *(str(one.n) for one in estimates)}


def _numbers(where: str, reason: str, names: Iterable[str], shown: Iterable[str]) -> Iterator[Finding]:
    text = _FORECAST.sub("", reason)
    for name in sorted(names, key=len, reverse=True):
        text = text.replace(name, "")
    for number in _NUMBER.findall(text):
        if number not in {"95", *shown}:
            yield misfit(where, f"says {number}, which none of its figures is")
