"""What `method: auto` tried, measured and chose: a section of the report. Free of torch.

`cleanclip.spec.report` gives these names to the rest; `cleanclip.spec.choosing` makes the choice from them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Interval, MaxLen
from pydantic import AfterValidator, StringConstraints

from cleanclip.spec.ladder import RungName, WhyLeftOut
from cleanclip.spec.measures import Count, Difference, Estimate, Towards
from cleanclip.spec.phrases import Phrase, one_of
from cleanclip.spec.recipe import Recipe
from cleanclip.spec.recommended import Family, Size

RungEnd = Literal["policy_met", "finished", "diverged", "budget", "does_not_fit", "not_needed"]
"""Why a rung has no further look. Not begun are `not_needed`, because an earlier one met the policy, and
`does_not_fit`, because at the pace of an earlier rung of its method the seconds left end before its first
look (`cleanclip.spec.ladder_budget`). `budget`: the seconds were over, before it or in it."""
_LAST_GOOD = tuple(
    f" The last good state is {state}."
    for state in ("not known", "that of step {good:count}", "that of step 0, the input weights")
)
NOT_FINITE = Phrase(
    "At update {step:count} of {total:count}, with a learning rate of {rate:number}, the loss is "
    "{loss:number} and the norm of its gradient {norm:number}."
)
RAN_AWAY = Phrase(
    "At update {step:count} of {total:count} the running mean of the loss is {average:number}, over its "
    "bound of {bound:number}: {times:number} times the mean of the first {first:count} updates, or of the "
    "loss of chance if that is larger."
)
COLLAPSED = Phrase(
    "At update {step:count} of {total:count} the loss is {loss:number}, where it began at {began:number}, "
    "and has been that of chance, {chance:number}, for {updates:count} updates: the model has forgotten all."
)
Diverged = Annotated[
    str,
    AfterValidator(
        one_of(*(Phrase(one.text + last) for one in (NOT_FINITE, RAN_AWAY, COLLAPSED) for last in _LAST_GOOD))
    ),
]
"""What ended a training (`sanitizer.training.record`)."""
Took = Annotated[float, Interval(ge=0, le=1e9)]


@dataclass(frozen=True, kw_only=True)
class UniversalShare:
    """How far one change that is the same for many images sends them to one class, the target unknown.

    `moved`: of the images that are not called `class_name` without the change, those that are with it. The
    class is the one that gets the most such images.
    """

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_:. -]{1,60}$")]
    class_name: str
    moved: Estimate


@dataclass(frozen=True, kw_only=True)
class ValidatedAttack:
    """One attack of the order on one model.

    `elsewhere`: the class that its images are given most, where that is not the target. `as_before`: of a
    rung's model, the class that was `elsewhere` on the input model, if one was.
    """

    asr: Estimate
    untriggered_target_rate: Estimate
    """Of the same images without the trigger."""
    elsewhere: Towards | None = None
    as_before: Towards | None = None


@dataclass(frozen=True, kw_only=True)
class Validated:
    """One model on the validation images.

    `attacks`: those of the order, in its order. `surrogates`: triggers of the suites that the order does not
    name; of the input model all, of others those that worked on it. `patterns`: patches that were inverted
    on this very model; empty where the model was not far enough for that.
    """

    ca: Estimate
    attacks: tuple[ValidatedAttack, ...]
    surrogates: Annotated[tuple[UniversalShare, ...], MaxLen(32)] = ()
    patterns: Annotated[tuple[UniversalShare, ...], MaxLen(32)] = ()


@dataclass(frozen=True, kw_only=True)
class Look:
    """A rung after `epoch` epochs. `seconds`: of its training until then and of its looks with this one;
    `trained_s`: of its training alone, 0 where that was not recorded."""

    epoch: Count
    figures: Validated
    ca_lost: Difference
    """Paired with the input model, on the validation images."""
    seconds: Took
    trained_s: Took = 0.0


@dataclass(frozen=True, kw_only=True)
class RungFigures:
    """One rung; `looks` is empty where none was reached. `detail`: what ended it, if there is more to say."""

    name: RungName
    recipe: Recipe
    looks: Annotated[tuple[Look, ...], MaxLen(4)]
    end: RungEnd
    seconds: Took
    """Of training and looks, those after the last look included."""
    detail: Diverged | None = None


@dataclass(frozen=True, kw_only=True)
class LeftOutRung:
    """A rung that the training data do not allow."""

    name: RungName
    why: WhyLeftOut


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which look of which rung, by their numbers. `meets_policy`: by its bounds on the validation images.

    `meets_unknown`: no surrogate and no fresh pattern sends more images to one class than
    `choosing.UNKNOWN_AT_MOST`, by the upper bound. None: no surrogate does, and patterns, which are inverted
    only where the policy is met, were not measured. `reason` is for people.
    """

    rung: Count
    look: Count
    meets_policy: bool
    meets_unknown: bool | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class AutoFigures:
    """The whole ladder. `num_validation`: images that decided; none of them is a test image."""

    family: Family
    size: Size | None
    num_validation: Count
    before: Validated
    """The input model."""
    rungs: Annotated[tuple[RungFigures, ...], MaxLen(8)]
    left_out: tuple[LeftOutRung, ...]
    choice: Choice
    seconds: Took
    """Of all rungs and of measuring the input model: what the budget counts."""

    def __post_init__(self) -> None:
        if not 0 <= self.choice.rung < len(self.rungs) or not self.choice.look < len(self.chosen.looks):
            raise ValueError("the choice names a look that is not there")

    def all_figures(self) -> Iterator[Validated]:
        """Of every model that was measured, the input model first."""
        yield self.before
        yield from (look.figures for rung in self.rungs for look in rung.looks)

    @property
    def chosen(self) -> RungFigures:
        """The rung whose weights are published."""
        return self.rungs[self.choice.rung]

    @property
    def chosen_look(self) -> Look:
        return self.chosen.looks[self.choice.look]
