"""The figures of the rebound audit: what came back when a copy of the cleaned model was trained further.

Free of torch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any

from annotated_types import Interval, Len, MaxLen

from cleanclip.vocabulary.exclusions import Digest
from cleanclip.vocabulary.intervals import low_of_highest
from cleanclip.vocabulary.measures import AS_WRITTEN, Count, Estimate, Ratio, derived

Rate = Annotated[float, Interval(gt=0, le=100)]
MOST_INTERPOLATED = 1 + 2**8
"""Different shares of the way at the most halvings."""
Updates = Annotated[float, Interval(ge=0, le=10_000)]
"""Between two whole ones where a share was crossed between two measurements."""


HALF = 0.5


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


@AS_WRITTEN
@dataclass(frozen=True, kw_only=True)
class ReboundCurve:
    """One benign fine-tuning, from step 0 (the cleaned model as it is published).

    `rate` is the multiple of the recipe's learning rate. `areas`: of each attack the area under ASR over
    updates, divided by the last step: its mean on the way, by straight lines between the points; 0 of a
    single point. `diverged_at`: the update at which the loss diverged; no later point was measured.
    """

    rate: Rate
    seed: int
    points: Annotated[tuple[ReboundPoint, ...], Len(1, 21)]
    diverged_at: Count | None = None

    @derived
    def areas(self) -> tuple[Ratio, ...]:
        """Raises IndexError where a point has fewer attacks than the first."""
        span = self.points[-1].step - self.points[0].step
        return tuple(
            sum(
                (later.step - earlier.step)
                * (earlier.attacks[number].asr.value + later.attacks[number].asr.value)
                / 2
                for earlier, later in pairwise(self.points)
            )
            / (span or 1)
            for number in range(len(self.points[0].attacks))
        )

    @property
    def warnings(self) -> Iterator[str]:
        """That the training diverged, or destroyed the model."""
        trained = f"Trained further at {self.rate:g} times the cleaning's learning rate, the copy"
        if self.diverged_at is not None:
            yield f"{trained}'s loss diverged at update {self.diverged_at}: nothing was measured after that."
        worst = min(self.points, key=lambda point: point.ca.value)
        if worst.ca.value < self.points[0].ca.value / 2:
            yield (
                f"{trained} lost more than half of its clean accuracy ({100 * worst.ca.value:.1f} % after "
                f"{worst.step} updates): its attack success rates say little. Give lower rates."
            )


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


@AS_WRITTEN
@dataclass(frozen=True, kw_only=True)
class Relearning:
    """How fast one trigger is learned from a few poisoned samples.

    `updates_to_half`: after how many updates ASR is 50 %, by a straight line between two points. None: not
    reached by the last of them.
    """

    trigger_sha256: Digest
    options: dict[str, Any]
    points: Annotated[tuple[RelearningPoint, ...], MaxLen(21)]
    diverged_at: Count | None = None

    @derived
    def updates_to_half(self) -> Updates | None:
        for place, point in enumerate(self.points):
            if point.asr.value < HALF:
                continue
            if place == 0:
                return float(point.step)
            earlier = self.points[place - 1]
            part = (HALF - earlier.asr.value) / (point.asr.value - earlier.asr.value)
            return earlier.step + part * (point.step - earlier.step)
        return None


@AS_WRITTEN
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

    @derived
    def ratio(self) -> Annotated[float, Interval(ge=0, le=1e9)] | None:
        old, fresh = self.old.updates_to_half, self.fresh and self.fresh.updates_to_half
        return None if old is None or not fresh else old / fresh


@dataclass(frozen=True, kw_only=True)
class InterpolatedPoint:
    """The weights (1 − `share`) · cleaned + `share` · input model; `attacks` in the order of the audit's."""

    share: Ratio
    ca: Estimate
    attacks: tuple[ReboundShare, ...]


def least_half(points: Sequence[InterpolatedPoint], number: int) -> float | None:
    """The share of the first of these points at which the attack of that number has an ASR of 50 %."""
    return next((point.share for point in points if point.attacks[number].asr.value >= HALF), None)


@AS_WRITTEN
@dataclass(frozen=True, kw_only=True)
class Interpolation:
    """How far the cleaned model is from its backdoor, on the straight line back to the input model.

    `points` in ascending order, from 0 (cleaned) to 1 (the input model). `to_half`: of each attack the least
    share that was measured with an ASR of 50 % or more; None: at no point. Below it every attack was measured
    at one halving less. That no lower share reaches 50 % is not shown.
    """

    points: Annotated[tuple[InterpolatedPoint, ...], Len(1, MOST_INTERPOLATED)]

    @derived
    def to_half(self) -> tuple[Ratio | None, ...]:
        return tuple(least_half(self.points, number) for number in range(len(self.points[0].attacks)))


@AS_WRITTEN
@dataclass(frozen=True, kw_only=True)
class ReboundFigures:
    """All of it; every share is of the same images at every point.

    `num_samples`: of the clean data that the copies were trained on. `attacks`: their names, in the order of
    the audit's; `highest`: of each of them. `relearned`: of each attack that worked before the cleaning,
    where that was ordered. `interpolation`: where it was ordered.
    """

    num_samples: Count
    attacks: tuple[str, ...]
    curves: Annotated[tuple[ReboundCurve, ...], MaxLen(50)]
    relearned: tuple[Relearned, ...] = ()
    interpolation: Interpolation | None = None

    @derived
    def highest(self) -> tuple[HighestASR, ...]:
        """Raises IndexError or ValueError where an attack was not measured."""
        return tuple(self._highest(number, name) for number, name in enumerate(self.attacks))

    def _highest(self, attack: int, name: str) -> HighestASR:
        """The first of its highest points, with the bounds of the highest of all.

        Upper: the point's own. Let h be the point that truly is the highest: its share lies under its own
        upper bound with 95 %, and that bound is at most the largest, which, with n alike, is that of the
        highest count. Lower: Wilson's at 0.05 / number of points, two-sided, since the point was chosen for
        its height.
        """
        places = [(number, point) for number, curve in enumerate(self.curves) for point in curve.points]
        place, point = max(places, key=lambda one: one[1].attacks[attack].asr.successes)
        asr = point.attacks[attack].asr
        return HighestASR(
            attack=name,
            rate=self.curves[place].rate,
            curve=place,
            step=point.step,
            asr=asr,
            low=low_of_highest(asr.successes, asr.n, len(places)),
            num_points=len(places),
        )

    @property
    def warnings(self) -> Iterator[str]:
        """At which rates a copy's training diverged, or destroyed the model."""
        for curve in self.curves:
            yield from curve.warnings

    @property
    def ratios(self) -> Sequence[tuple[str, float | None]]:
        """Of each attack that was learned again: its name, and how fast against a fresh one."""
        return [(one.attack, one.ratio) for one in self.relearned]

    def point_of(self, one: HighestASR) -> ReboundPoint | None:
        """The measurement with that ASR; None where points were left out."""
        points = self.curves[one.curve].points if one.curve < len(self.curves) else ()
        return next((point for point in points if point.step == one.step), None)

    def lowest_ca(self) -> tuple[ReboundCurve, ReboundPoint] | None:
        """The measurement with the lowest clean accuracy, the first of equal ones, and its curve."""
        measured = ((curve, point) for curve in self.curves for point in curve.points)
        return min(measured, key=lambda found: found[1].ca.value, default=None)
