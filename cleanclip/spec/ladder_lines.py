"""A ladder in lines for people: what was tried, in which order, and what came of it. Free of torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cleanclip.spec.auto_figures import AutoFigures, RungEnd, UniversalShare, Validated
from cleanclip.spec.choosing import Judge, on_front, places_of, worst
from cleanclip.spec.ladder import WhyLeftOut
from cleanclip.spec.measures import Difference, Estimate
from cleanclip.spec.report import Report

ENDS: dict[RungEnd, str] = {
    "policy_met": "met the policy, which ended the ladder",
    "finished": "trained to its end",
    "diverged": "its training diverged",
    "budget": "the budget ended",
    "not_needed": "not needed",
    "does_not_fit": "not begun: its first look does not fit in the budget",
}
WHY: dict[WhyLeftOut, str] = {
    "needs_captions": "needs captions",
    "needs_labels": "needs labelled images to train on",
}


@dataclass(frozen=True, kw_only=True)
class LadderLine:
    """One model that was measured; paths lead to its shares in report.json.

    `asr`: the highest of the attacks that worked on the input model, named by the number `attack`; None where
    none worked. `sent`: the surrogate or fresh pattern that sends the most images to one class. `lost` and
    `seconds` are None of the input model.
    """

    title: str
    path: str
    figures: Validated
    attack: int | None
    sent: UniversalShare | None
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
    yield _line(judge, auto.before, "auto.before", "input model")
    for number, place in places_of(auto.rungs):
        rung, look = auto.rungs[number], auto.rungs[number].looks[place]
        path = f"auto.rungs.{number}.looks.{place}"
        title = f"{rung.name}, after epoch {look.epoch} of {rung.recipe.epochs}"
        if place == len(rung.looks) - 1:
            title += f"; {ENDS[rung.end]}"
        yield _line(
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
    places = [(f"{path}.surrogates.{number}", one) for number, one in enumerate(figures.surrogates)]
    places += [(f"{path}.patterns.{number}", one) for number, one in enumerate(figures.patterns)]
    most = worst([one for _, one in places])
    sent_path = next((place for place, one in places if most and one is most[0]), "")
    return LadderLine(
        title=title,
        path=path,
        figures=figures,
        attack=judge.worst_attack(figures),
        sent=most[0] if most else None,
        sent_path=sent_path,
        lost=lost,
        lost_path=lost_path,
        seconds=seconds,
        is_chosen=is_chosen,
        is_on_front=is_on_front,
    )
