"""A ladder in lines for people: what was tried, in which order, and what came of it. Free of torch.

The pages and the terminal show these lines, made from a report; the command makes them from a job's result.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any

from annotated_types import Interval
from pydantic import ValidationError

from cleanclip.spec.attack_options import kind_of_json
from cleanclip.spec.auto_figures import AutoFigures, Look, RungEnd, RungFigures, UniversalShare, Validated
from cleanclip.spec.choosing import Judge, on_front, places_of
from cleanclip.spec.figures import at, short
from cleanclip.spec.ladder import WhyLeftOut
from cleanclip.spec.measures import Difference, Estimate
from cleanclip.spec.recipe import Policy, parse
from cleanclip.spec.strangers import name, shown

ENDS: dict[RungEnd, str] = {
    "policy_met": "met the policy, which ended the ladder",
    "finished": "trained to its end",
    "diverged": "its training diverged",
    "budget": "the budget ended in it",
    "does_not_fit": "not begun: its first look does not fit in the budget",
    "not_needed": "not needed",
}
WHY: dict[WhyLeftOut, str] = {
    "needs_captions": "needs captions",
    "needs_labels": "needs labelled images to train on",
}

NOT_SHOWN = "The ladder cannot be shown: it has a form that this version does not read."


class LadderUnreadable(ValueError):
    """The ladder is not in the form that this release reads, or its parts do not fit each other."""


@dataclass(frozen=True, kw_only=True)
class _Attack:
    """Of an attack of the audit before, what a line needs."""

    name: str
    target: str
    options: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class _Source:
    """What a ladder is made from. `judged`: of every attack whether the verdict judges it, or nothing."""

    auto: AutoFigures
    attacks: tuple[_Attack, ...]
    policy: Policy
    gate: Annotated[float, Interval(ge=0, le=1)]
    judged: tuple[bool, ...]

    def __post_init__(self) -> None:
        num_attacks = len(self.attacks)
        if any(len(figures.attacks) != num_attacks for figures in self.auto.all_figures()):
            raise ValueError("a model was not measured with every attack of the audit")
        if len(self.judged) not in (0, num_attacks):
            raise ValueError("the verdict is not of the attacks of the audit")

    @classmethod
    def of(cls, report: Any) -> _Source:
        """Raises LadderUnreadable."""
        attacks = _each(at(report, "before.attacks"), ("name", "target", "options"))
        verdicts = at(report, "verdict.attacks")
        judged = () if verdicts is None else _each(verdicts, ("judged",))
        parts = {"auto": at(report, "auto"), "policy": at(report, "policy"), "gate": at(report, "audit.gate")}
        try:
            judged = tuple(part["judged"] is not False for part in judged)
            return parse(cls, {**parts, "attacks": attacks, "judged": judged})
        except (ValidationError, TypeError) as error:
            raise LadderUnreadable(NOT_SHOWN) from error


def _each(items: Any, names: tuple[str, ...]) -> Any:
    """These parts of every item; what is not a list stays as it is, and is refused where it is parsed."""
    if not isinstance(items, list | tuple):
        return items
    return tuple({part: at(item, part) for part in names} for item in items)


@dataclass(frozen=True, kw_only=True)
class Ladder:
    """What was tried, and what looks are held against. `attacks`: of every attack its name, options and
    target."""

    auto: AutoFigures
    judge: Judge
    attacks: tuple[_Attack, ...]

    @classmethod
    def of(cls, report: Any) -> Ladder | None:
        """None where no ladder was ordered. `report` is a Report, or its JSON, or a job's result with the
        job's `audit` and `policy`. Raises LadderUnreadable for any other, such as one of another release."""
        if at(report, "auto") is None:
            return None
        source = _Source.of(report)
        judge = Judge(
            before=source.auto.before,
            kinds=[kind_of_json(attack.options) for attack in source.attacks],
            policy=source.policy,
            gate=source.gate,
            not_judged=[number for number, judged in enumerate(source.judged) if not judged],
        )
        return cls(auto=source.auto, judge=judge, attacks=source.attacks)

    def title(self, figures: Validated, number: int) -> str:
        """Name and class of the attack of that number, by which it is judged on this model."""
        attack, led = self.attacks[number], self.judge.led(figures, number)
        title = f"{name(attack.name)}, to “{name(attack.target if led is None else led.class_name)}”"
        return title if led is None else f"{title}, not its target “{name(attack.target)}”"


@dataclass(frozen=True, kw_only=True)
class LadderLine:
    """One model that was measured; `path` leads to its figures in report.json. `look` None: the input
    model."""

    ladder: Ladder
    label: str
    title: str
    path: str
    figures: Validated
    look: Look | None = None
    is_chosen: bool = False
    is_on_front: bool = False

    @cached_property
    def attack(self) -> int | None:
        """The number of the attack that is the farthest over its limit, of those that worked on the input
        model."""
        return self.ladder.judge.worst_attack(self.figures)

    @property
    def attack_title(self) -> str:
        return "" if self.attack is None else self.ladder.title(self.figures, self.attack)

    @property
    def asr(self) -> Estimate | None:
        """Of the attack; where it leads to another class than its target, the share that is given this
        class."""
        return None if self.attack is None else self.ladder.judge.share(self.figures, self.attack)

    @property
    def asr_path(self) -> str:
        """Where it stands in report.json; "" where there is none."""
        if self.attack is None:
            return ""
        led, figures = self.ladder.judge.led(self.figures, self.attack), self.figures.attacks[self.attack]
        place = "elsewhere" if led is figures.elsewhere else "as_before"
        return f"{self.path}.attacks.{self.attack}.{'asr' if led is None else f'{place}.triggered'}"

    @property
    def no_asr(self) -> str:
        """Why there is none."""
        judge = self.ladder.judge
        if not judge.kinds:
            return "the audit has no attack"
        all_spared = len(judge.not_judged) == len(judge.kinds)
        return "no attack is judged" if all_spared else "no attack worked on the input model"

    @property
    def not_judged(self) -> str:
        """How many found triggers take no part, and the highest ASR of them; "" where there are none."""
        spared, attacks = self.ladder.judge.not_judged, self.figures.attacks
        if not spared:
            return ""
        highest = max(spared, key=lambda number: attacks[number].asr.value)
        asr = attacks[highest].asr
        counted = "1 found trigger is" if len(spared) == 1 else f"{len(spared)} found triggers are"
        return (
            f"{counted} not judged; highest ASR {100 * asr.value:.2f} % ({100 * asr.low:.2f} to "
            f"{100 * asr.high:.2f} %, n = {asr.n}), {self.ladder.title(self.figures, highest)}."
        )

    @cached_property
    def _most_sent(self) -> tuple[str, str, UniversalShare | None]:
        parts = (
            ("surrogates", "surrogate", self.figures.surrogates),
            ("patterns", "fresh", self.figures.patterns),
        )
        places = [
            (f"{self.path}.{part}.{number}", kind, one)
            for part, kind, shares in parts
            for number, one in enumerate(shares)
        ]
        return max(places, key=lambda place: place[2].moved.value, default=("", "", None))

    @property
    def sent(self) -> UniversalShare | None:
        """The surrogate or fresh pattern that sends the most images to one class."""
        return self._most_sent[2]

    @property
    def sent_title(self) -> str:
        _, kind, sent = self._most_sent
        return "" if sent is None else f"{kind} {name(sent.name)}, to “{name(sent.class_name)}”"

    @property
    def sent_path(self) -> str:
        return self._most_sent[0]

    @property
    def lost(self) -> Difference | None:
        return None if self.look is None else self.look.ca_lost

    @property
    def lost_path(self) -> str:
        return f"{self.path.removesuffix('.figures')}.ca_lost"

    @property
    def seconds(self) -> float | None:
        return None if self.look is None else self.look.seconds


def lines(report: Any) -> Iterator[LadderLine]:
    """The input model, then every look; nothing where no ladder was ordered. `report`: as of `Ladder.of`."""
    ladder = Ladder.of(report)
    if ladder is None:
        return
    auto = ladder.auto
    front = on_front(auto.rungs, ladder.judge)
    yield LadderLine(
        ladder=ladder, label="input", title="input model", path="auto.before", figures=auto.before
    )
    for number, place in places_of(auto.rungs):
        rung, look = auto.rungs[number], auto.rungs[number].looks[place]
        title = f"{rung.name}, after epoch {look.epoch} of {rung.recipe.epochs}"
        if place == len(rung.looks) - 1:
            title += f"; {ENDS[rung.end]}"
        yield LadderLine(
            ladder=ladder,
            label=f"{rung.name} {look.epoch}",
            title=title,
            path=f"auto.rungs.{number}.looks.{place}.figures",
            figures=look.figures,
            look=look,
            is_chosen=(number, place) == (auto.choice.rung, auto.choice.look),
            is_on_front=(number, place) in front,
        )


def not_measured(auto: AutoFigures) -> list[str]:
    """Rungs without a look, and those that the training data do not allow, each with the reason."""
    without = [f"{one.name} ({_end_without_look(one)})" for one in auto.rungs if not one.looks]
    return [*without, *(f"{one.name} ({WHY[one.why]})" for one in auto.left_out)]


def _end_without_look(rung: RungFigures) -> str:
    if rung.end != "budget":
        return ENDS[rung.end]
    is_begun = rung.seconds > 0  # a rung that was never begun took no time
    return f"{ENDS['budget']}, before its first look" if is_begun else "not begun: the budget was over"


def heading(auto: AutoFigures) -> str:
    """What stands above the lines."""
    return f"Recipes tried on {auto.num_validation} validation images, which are not test images:"


def in_brief(report: Any) -> list[str]:
    """For a terminal: a line for each model that was measured, and the choice; empty where no ladder was
    ordered. `report`: as of `Ladder.of`; of a ladder of another release the choice alone, if it has one."""
    try:
        measured = list(lines(report))
    except LadderUnreadable:
        reason = at(report, "auto.choice.reason")
        return [_choice(reason) if isinstance(reason, str) and reason.strip() else NOT_SHOWN]
    if not measured:
        return []
    auto = measured[0].ladder.auto
    models = [f"{'→ chosen: ' if one.is_chosen else '· '}{one.title}: {_figures(one)}" for one in measured]
    others = ", ".join(not_measured(auto))
    left_out = [f"Not measured: {others}."] if others else []
    return [heading(auto), *models, *left_out, _choice(auto.choice.reason)]


def _choice(reason: str) -> str:
    return f"Choice: {shown(reason)}"


def _figures(line: LadderLine) -> str:
    parts = [f"CA {short(line.figures.ca)}"]
    if (lost := line.lost) is not None:
        value, low, high = (100 * part for part in (lost.value, lost.low, lost.high))
        parts.append(f"CA lost {value:.1f} points [{low:.1f}, {high:.1f}] n={lost.n}")
    worst = f"worst ASR {short(line.asr)} ({line.attack_title})"
    parts.append(line.no_asr if line.asr is None else worst)
    if line.not_judged:
        parts.append(line.not_judged.removesuffix("."))
    if line.sent is not None:
        parts.append(f"most sent to one class {short(line.sent.moved)} ({line.sent_title})")
    return "; ".join(parts)
