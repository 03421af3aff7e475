"""Whether a ladder's figures fit each other, the order and the report, and the choice follows from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cleanclip.evidence.counted import difference, estimate, same
from cleanclip.evidence.figures import one_class
from cleanclip.evidence.findings import Finding, misfit
from cleanclip.spec.attack_options import kind_of, names_of, surrogates_of
from cleanclip.spec.auto_figures import (
    AutoFigures,
    Look,
    RungFigures,
    UniversalShare,
    Validated,
    ValidatedAttack,
)
from cleanclip.spec.choosing import Judge, choose, not_judged, places_of, works_unknown
from cleanclip.spec.ladder import Rung, ladder, left_out
from cleanclip.spec.ladder_budget import end_before
from cleanclip.spec.recipe import AutoRecipe, to_json
from cleanclip.spec.recommended import model_of
from cleanclip.spec.report import Report


def check(report: Report) -> Iterator[Finding]:
    """Of a cleaning that ordered a ladder; elsewhere there is none."""
    ordered, told = report.recipe, report.auto
    if (told is None) == isinstance(ordered, AutoRecipe):
        yield misfit("auto", "is there exactly where a ladder was ordered")
    if told is None or not isinstance(ordered, AutoRecipe):
        return
    model = model_of({"architecture": report.checkpoint.architecture, "num_parameters": 0})
    yield from same("auto.family", told.family, model and model[0])
    yield from _validated("auto.before", told.before, told, report)
    for number, place in places_of(told.rungs):
        where, look = f"auto.rungs[{number}].looks[{place}].figures", told.rungs[number].looks[place]
        yield from _validated(where, look.figures, told, report)
    if any(len(figures.attacks) != len(report.audit.attacks) for figures in told.all_figures()):
        return
    expected = [one.name for one in told.before.surrogates]
    names = names_of(to_json(one) for one in surrogates_of(report.audit.attacks))
    yield from same("auto.before.surrogates", expected, list(names))
    if not told.before.patterns:
        yield misfit("auto.before.patterns", "are missing")
    num_samples = sum(one.num_samples for one in report.data if one.kind in ("pairs", "training"))
    rungs = ladder(ordered, told.family, told.size, num_samples)
    listed = [(one.name, one.recipe) for one in told.rungs]
    yield from same("auto.rungs", listed, [(one.name, one.recipe) for one in rungs])
    yield from same("auto.left_out", {one.name: one.why for one in told.left_out}, left_out(ordered))
    if len(told.rungs) != len(rungs):
        return
    judge = Judge(
        before=told.before,
        kinds=[kind_of(attack) for attack in report.audit.attacks],
        policy=report.policy,
        gate=report.audit.gate,
        not_judged=not_judged(report.scan, [one.asr for one in report.before.attacks]),
    )
    for number, (figures, rung) in enumerate(zip(told.rungs, rungs, strict=True)):
        yield from _rung(f"auto.rungs[{number}]", figures, rung, told, judge)
    yield from _ends(told, rungs, ordered)
    if sum(one.seconds for one in told.rungs) > told.seconds * (1 + 1e-9):
        yield misfit("auto.seconds", "is less than its rungs took")
    yield from same("auto.choice", told.choice, choose(told.rungs, judge))


def _rung(where: str, told: RungFigures, rung: Rung, auto: AutoFigures, judge: Judge) -> Iterator[Finding]:
    epochs = [look.epoch for look in told.looks]
    yield from same(f"{where}.looks", epochs, list(rung.looks[: len(epochs)]))
    seconds = 0.0
    for number, look in enumerate(told.looks):
        inside = f"{where}.looks[{number}]"
        yield from _look(inside, look, auto, judge)
        if look.seconds < seconds:
            yield misfit(f"{inside}.seconds", "is less than before")
        if look.trained_s > look.seconds * (1 + 1e-9):
            yield misfit(f"{inside}.trained_s", "is more than all seconds")
        seconds = look.seconds
    if told.seconds < seconds:
        yield misfit(f"{where}.seconds", "is less than at its last look")
    met = [judge.meets_both(look) for look in told.looks]
    is_last = met == [False] * (len(met) - 1) + [True] and bool(met)
    if (told.end == "policy_met") != is_last or (any(met) and not is_last):
        yield misfit(f"{where}.end", "is not that of its looks")
    if told.end == "finished" and len(epochs) < len(rung.looks):
        yield misfit(f"{where}.end", "is finished, though looks are missing")
    if (told.end == "diverged") != (told.detail is not None):
        yield misfit(f"{where}.detail", "belongs to a rung that diverged")


def _look(where: str, look: Look, auto: AutoFigures, judge: Judge) -> Iterator[Finding]:
    yield from difference(f"{where}.ca_lost", look.ca_lost, auto.before.ca, look.figures.ca)
    worked = [one.name for one in auto.before.surrogates if works_unknown(one)]
    yield from same(f"{where}.figures.surrogates", [one.name for one in look.figures.surrogates], worked)
    if bool(look.figures.patterns) != (judge.excess(look) == 0):
        yield misfit(f"{where}.figures.patterns", "are there exactly where the policy is met")


def _validated(where: str, told: Validated, auto: AutoFigures, report: Report) -> Iterator[Finding]:
    num_validation = auto.num_validation
    yield from estimate(f"{where}.ca", told.ca, num_validation)
    yield from same(f"{where}.attacks", len(told.attacks), len(report.audit.attacks))
    for number, (one, was) in enumerate(zip(told.attacks, auto.before.attacks, strict=False)):
        inside = f"{where}.attacks[{number}]"
        yield from estimate(f"{inside}.asr", one.asr, min(was.asr.n, num_validation))
        yield from estimate(f"{inside}.untriggered_target_rate", one.untriggered_target_rate, one.asr.n)
        if one.untriggered_target_rate.successes + told.ca.successes > told.ca.n:
            yield misfit(f"{inside}.untriggered_target_rate.successes", "does not fit the clean accuracy")
        target = report.audit.attacks[number].target or report.audit.target
        yield from _led(inside, one, target, num_validation)
        led = None if told is auto.before or was.elsewhere is None else was.elsewhere.class_name
        yield from same(f"{inside}.as_before", one.as_before and one.as_before.class_name, led)
    yield from _moved(f"{where}.surrogates", told.surrogates, num_validation)
    yield from _moved(f"{where}.patterns", told.patterns, num_validation)


def _led(where: str, one: ValidatedAttack, target: str, num_validation: int) -> Iterator[Finding]:
    """Where triggered images go most: no other class is given to more of them."""
    for name, towards in (("elsewhere", one.elsewhere), ("as_before", one.as_before)):
        if towards is None:
            continue
        yield from one_class(f"{where}.{name}", towards, num_validation)
        if towards.class_name == target:
            yield misfit(f"{where}.{name}.class_name", "is the target")
    most = one.asr if one.elsewhere is None else one.elsewhere.triggered
    others = [one.asr, *([one.as_before.triggered] if one.as_before else [])]
    if any(other.successes > most.successes for other in others):
        yield misfit(f"{where}.elsewhere", "is not the class that most images are given")
    if one.elsewhere and one.as_before and one.elsewhere.class_name == one.as_before.class_name:
        yield from same(f"{where}.as_before", one.as_before, one.elsewhere)


def _moved(where: str, told: Sequence[UniversalShare], num_validation: int) -> Iterator[Finding]:
    for number, one in enumerate(told):
        yield from estimate(f"{where}[{number}].moved", one.moved, one.moved.n)
        if one.moved.n > num_validation:
            yield misfit(f"{where}[{number}].moved.n", "is more than all images")


def _ends(told: AutoFigures, rungs: Sequence[Rung], ordered: AutoRecipe) -> Iterator[Finding]:
    """Which rungs are begun follows from those before them and from the budget; the budget ended where it is
    said to have."""
    budget_s = None if ordered.max_device_minutes is None else 60 * ordered.max_device_minutes
    spent_s = told.seconds - sum(one.seconds for one in told.rungs)  # on measuring the input model
    rounding_s = 1e-9 * max(told.seconds, budget_s or 0.0)
    for number, (figures, rung) in enumerate(zip(told.rungs, rungs, strict=True)):
        where = f"auto.rungs[{number}].end"
        is_begun = bool(figures.looks) or figures.seconds > 0 or figures.end in ("finished", "diverged")
        left_s = None if budget_s is None else budget_s - spent_s
        around = {left_s} if left_s is None else {left_s - rounding_s, left_s + rounding_s}
        ends = {end_before(told.rungs[:number], rung, one) for one in around}
        if (None if is_begun else figures.end) not in ends:
            yield misfit(where, "does not follow from the rungs before it and the budget")
        spent_s += figures.seconds
        if is_begun and figures.end in ("not_needed", "does_not_fit"):
            yield misfit(where, f"is {figures.end}, and the rung was begun")
        if figures.end == "budget" and (budget_s is None or spent_s < budget_s - rounding_s):
            yield misfit(where, "is budget, and there were seconds left")
