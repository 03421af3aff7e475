"""A ladder in lines for people: what was tried, in which order, and what came of it. Free of torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cleanclip.spec.auto_figures import AutoFigures, RungEnd, UniversalShare, Validated
from cleanclip.spec.choosing import Judge, on_front, places_of
from cleanclip.spec.ladder import WhyLeftOut
from cleanclip.spec.measures import Difference, Estimate
from cleanclip.spec.report import Report
from cleanclip.spec.strangers import name

ENDS: dict[RungEnd, str] = {
    "policy_met": "met the policy, which ended the ladder",
    "finished": "trained to its end",
    "diverged": "its training diverged",
    "budget": "the budget ended",
    "does_not_fit": "not begun: its first look does not fit in the budget",
    "not_needed": "not needed",
}
WHY: dict[WhyLeftOut, str] = {
    "needs_captions": "needs captions",
    "needs_labels": "needs labelled images to train on",
}


@dataclass(frozen=True, kw_only=True)
class LadderLine:
    """One model that was measured; paths lead to its shares in report.json.

    `asr`: of the attack that is the farthest over its limit, of those that worked on the input model;
    `attack` is its number, `attack_title` its name and class. Where there is none, `no_asr` says why.
    `not_judged` is a sentence on found triggers that take no part; "" where there are none. `sent`: the
    surrogate or fresh pattern that sends the most images to one class; `sent_title` names both. `lost` and
    `seconds` are None of the input model.
    """

    title: str
    path: str
    figures: Validated
    attack: int | None
    attack_title: str
    no_asr: str
    not_judged: str
    sent: UniversalShare | None
    sent_title: str
    sent_path: str
    lost: Difference | None = None
    lost_path: str = ""
    seconds: float | None = None
    is_chosen: bool = False
    is_on_front: bool = False

    @property
    def asr(self) -> Estimate | None:
        return None if self.attack is None else self.figures.attacks[self.attack].asr


def judge_of(report: Report, auto: AutoFigures) -> Judge:
    """What the looks of the report's ladder are held against."""
    return Judge(
        before=auto.before,
        attacks=report.audit.attacks,
        policy=report.policy,
        gate=report.audit.gate,
        scan=report.scan,
    )


def lines(report: Report) -> Iterator[LadderLine]:
    """The input model, then every look; nothing where no ladder was ordered."""
    auto = report.auto
    if auto is None:
        return
    judge = judge_of(report, auto)
    front = on_front(auto.rungs, judge)
    yield _line(report, judge, auto.before, "auto.before", "input model")
    for number, place in places_of(auto.rungs):
        rung, look = auto.rungs[number], auto.rungs[number].looks[place]
        path = f"auto.rungs.{number}.looks.{place}"
        title = f"{rung.name}, after epoch {look.epoch} of {rung.recipe.epochs}"
        if place == len(rung.looks) - 1:
            title += f"; {ENDS[rung.end]}"
        yield _line(
            report,
            judge,
            look.figures,
            f"{path}.figures",
            title,
            lost=look.ca_lost,
            lost_path=f"{path}.ca_lost",
            seconds=look.seconds,
            is_chosen=(number, place) == (auto.choice.rung, auto.choice.look),
            is_on_front=(number, place) in front,
        )


def not_measured(report: Report) -> list[str]:
    """Rungs without a look, and those that the training data do not allow, each with the reason."""
    if report.auto is None:
        return []
    without = [f"{one.name} ({ENDS[one.end]})" for one in report.auto.rungs if not one.looks]
    return [*without, *(f"{one.name} ({WHY[one.why]})" for one in report.auto.left_out)]


def _line(
    report: Report,
    judge: Judge,
    figures: Validated,
    path: str,
    title: str,
    *,
    lost: Difference | None = None,
    lost_path: str = "",
    seconds: float | None = None,
    is_chosen: bool = False,
    is_on_front: bool = False,
) -> LadderLine:
    places = [(f"{path}.surrogates.{at}", "surrogate", one) for at, one in enumerate(figures.surrogates)]
    places += [(f"{path}.patterns.{at}", "fresh", one) for at, one in enumerate(figures.patterns)]
    sent_path, kind, sent = max(places, key=lambda place: place[2].moved.value, default=("", "", None))
    attack = judge.worst_attack(figures)
    all_spared = len(judge.not_judged) == len(judge.attacks)
    return LadderLine(
        title=title,
        path=path,
        figures=figures,
        attack=attack,
        attack_title="" if attack is None else attack_title(report, attack),
        no_asr="no attack is judged" if all_spared else "no attack worked on the input model",
        not_judged=_not_judged(report, judge, figures),
        sent=sent,
        sent_title="" if sent is None else f"{kind} {name(sent.name)}, to “{name(sent.class_name)}”",
        sent_path=sent_path,
        lost=lost,
        lost_path=lost_path,
        seconds=seconds,
        is_chosen=is_chosen,
        is_on_front=is_on_front,
    )


def attack_title(report: Report, number: int) -> str:
    """Name and class of the attack of that number."""
    attack = report.before.attacks[number]
    return f"{name(attack.name)}, to “{name(attack.target)}”"


def _not_judged(report: Report, judge: Judge, figures: Validated) -> str:
    """How many found triggers take no part, and the highest ASR of them."""
    spared = judge.not_judged
    if not spared:
        return ""
    highest = max(spared, key=lambda number: figures.attacks[number].asr.value)
    asr = figures.attacks[highest].asr
    counted = "1 found trigger is" if len(spared) == 1 else f"{len(spared)} found triggers are"
    return (
        f"{counted} not judged; highest ASR {100 * asr.value:.2f} % ({100 * asr.low:.2f} to "
        f"{100 * asr.high:.2f} %, n = {asr.n}), {attack_title(report, highest)}."
    )
