"""The figures of the rebound audit: what came back when a copy of the cleaned model was trained further.

`cleanclip.spec.report` gives these names to the rest. Free of torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Interval, MaxLen

from cleanclip.spec.exclusions import Digest
from cleanclip.spec.measures import Count, Estimate, Ratio

Rate = Annotated[float, Interval(gt=0, le=100)]
MOST_INTERPOLATED = 1 + 2**8
"""Different shares of the way at the most halvings."""
Updates = Annotated[float, Interval(ge=0, le=10_000)]
"""Between two whole ones where a share was crossed between two measurements."""


@dataclass(frozen=True, kw_only=True)
class ReboundShare:
    """One attack at one point of a curve: its ASR, and the share of the same images without the trigger."""

    asr: Estimate
    untriggered_target_rate: Estimate


@dataclass(frozen=True, kw_only=True)
class ReboundPoint:
    """The copy after `step` updates; `attacks` in the order of the audit's."""

    step: Count
    ca: Estimate
    attacks: tuple[ReboundShare, ...]


@dataclass(frozen=True, kw_only=True)
class ReboundCurve:
    """One benign fine-tuning, from step 0 (the cleaned model as it is published).

    `rate` is the multiple of the recipe's learning rate. `areas`: of each attack the area under ASR over
    updates, divided by the last step: its mean on the way, by straight lines between the points; 0 of a
    single point. `diverged_at`: the update at which the loss diverged; no later point was measured.
    """

    rate: Rate
    learning_rate: Annotated[float, Interval(gt=0, le=100)]
    seed: int
    points: Annotated[tuple[ReboundPoint, ...], MaxLen(21)]
    areas: tuple[Ratio, ...]
    diverged_at: Count | None = None


@dataclass(frozen=True, kw_only=True)
class HighestASR:
    """The highest ASR of one attack over all points of all curves, the first of equal ones.

    `curve` is its place in `curves`. The upper bound of `asr` is one for the highest of all, too: whichever
    point truly is the highest, its own bound covers it with 95 %, and no bound is above this one. `low` is a
    lower bound for the highest of all: Wilson's at a level of 0.05 / `num_points` (Bonferroni), because the
    point was chosen for its height.
    """

    attack: str
    curve: Count
    rate: Rate
    step: Count
    asr: Estimate
    low: Ratio
    num_points: Count


@dataclass(frozen=True, kw_only=True)
class RelearningPoint:
    """ASR of the trigger that is being trained, after `step` updates."""

    step: Count
    asr: Estimate


@dataclass(frozen=True, kw_only=True)
class Relearning:
    """How fast one trigger is learned from a few poisoned samples.

    `updates_to_half`: after how many updates ASR is 50 %, by a straight line between two points. None: not
    reached by the last of them.
    """

    trigger_sha256: Digest
    options: dict[str, Any]
    points: Annotated[tuple[RelearningPoint, ...], MaxLen(21)]
    updates_to_half: Updates | None = None
    diverged_at: Count | None = None


@dataclass(frozen=True, kw_only=True)
class Relearned:
    """The old trigger against a fresh one of the same family, place, size and target, on the same model.

    `fresh` None: the family has no other trigger of its kind (an image of the customer's own). `ratio`:
    updates to 50 % of the old one through those of the fresh one; under 1 the old one comes back faster. None
    where one of them is not known, or the fresh one is at 50 % from the start.
    """

    attack: str
    old: Relearning
    fresh: Relearning | None
    ratio: Annotated[float, Interval(ge=0, le=1e9)] | None = None


@dataclass(frozen=True, kw_only=True)
class InterpolatedPoint:
    """The weights (1 − `share`) · cleaned + `share` · input model; `attacks` in the order of the audit's."""

    share: Ratio
    ca: Estimate
    attacks: tuple[ReboundShare, ...]


@dataclass(frozen=True, kw_only=True)
class Interpolation:
    """How far the cleaned model is from its backdoor, on the straight line back to the input model.

    `points` in ascending order, from 0 (cleaned) to 1 (the input model). `to_half`: of each attack the least
    share that was measured with an ASR of 50 % or more; None: at no point. Below it every attack was measured
    at one halving less. That no lower share reaches 50 % is not shown.
    """

    points: Annotated[tuple[InterpolatedPoint, ...], MaxLen(MOST_INTERPOLATED)]
    to_half: tuple[Ratio | None, ...]


@dataclass(frozen=True, kw_only=True)
class ReboundFigures:
    """All of it; every share is of the same images at every point.

    `num_samples`: of the clean data that the copies were trained on. `highest`: of each attack, in the order
    of the audit's. `relearned`: of each attack that worked before the cleaning, where that was ordered.
    `interpolation`: where it was ordered.
    """

    num_samples: Count
    curves: Annotated[tuple[ReboundCurve, ...], MaxLen(50)]
    highest: tuple[HighestASR, ...]
    relearned: tuple[Relearned, ...] = ()
    interpolation: Interpolation | None = None

    def point_of(self, one: HighestASR) -> ReboundPoint | None:
        """The measurement with that ASR; None where points were left out."""
        points = self.curves[one.curve].points if one.curve < len(self.curves) else ()
        return next((point for point in points if point.step == one.step), None)

    def lowest_ca(self) -> tuple[ReboundCurve, ReboundPoint] | None:
        """The measurement with the lowest clean accuracy, the first of equal ones, and its curve."""
        measured = ((curve, point) for curve in self.curves for point in curve.points)
        return min(measured, key=lambda found: found[1].ca.value, default=None)
