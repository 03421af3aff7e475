"""What a run takes down about itself: the curve, and whether the loss ran away. Knows no model and no clock.

Its whole memory goes into a `Position` and comes back from one, so that a resumed run draws the same
curve and stops at the same step as one that was never cut.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from sanitizer.errors import TrainingDiverged
from sanitizer.report import CurvePoint
from sanitizer.training.state import Position
from sanitizer.training.step import StepResult

MAX_CURVE_POINTS = 500
WATCH_DECAY = 0.98
RUNAWAY_BOUND = 2.0
"""Times the loss of the first update, or of chance where that is more."""
KNOWS_SHARE, COLLAPSED_SHARE = 0.75, 0.98
"""Of the loss of chance: a model that begins under the first and comes to the second has forgotten all."""

_REMEDY = (
    "Order it again with a lower learning rate, and look at the data for broken captions; the same order "
    "again most likely ends the same way. The weights that came in are as they were, and so is what was "
    "measured of them."
)


class Record:
    """At most `MAX_CURVE_POINTS` points of the curve, each the mean over the steps since the one before."""

    def __init__(
        self, *, total_steps: int, steps_per_epoch: int, parts: Sequence[str], chance_loss: float
    ) -> None:
        """`parts` and `chance_loss` are the method's (`Method`), the latter for this run's batch."""
        self._parts = tuple(parts)
        self._total_steps = total_steps
        self._steps_per_epoch = steps_per_epoch
        self._chance_loss = chance_loss
        self._stride = math.ceil(total_steps / MAX_CURVE_POINTS)
        self.curve: list[CurvePoint] = []
        self.interval_steps = 0
        self.interval_sums = self._nothing
        self.watch_start: float | None = None
        self.watch_average: float | None = None
        self._last_loss: float | None = None
        self.good_step: int | None = None
        """The step of the last state that was saved while the loss was good (`saving`)."""

    def restore(self, position: Position) -> None:
        """Continue where `position` was taken."""
        self.curve = list(position.curve)
        self.interval_steps = position.interval_steps
        self.interval_sums = position.interval_sums or self._nothing
        self.watch_start = position.watch_start
        self.watch_average = position.watch_average
        self.good_step = position.good_step

    def saving(self, step: int) -> bool:
        """A state after `step` updates is about to be saved: whether it is a good one, which is remembered.

        Good is the state from before the first update, and one at which the last loss and the running mean
        are nearer to the first loss than to chance, or no more than the first where that is over chance.
        """
        start, average = self.watch_start, self.watch_average
        is_good = step == 0
        if start is not None and average is not None:
            last = average if self._last_loss is None else self._last_loss
            is_good |= max(average, last) <= max(start, (start + self._chance_loss) / 2)
        if is_good:
            self.good_step = step
        return is_good

    def add(self, step: int, result: StepResult, *, learning_rate: float, logit_scale: float) -> None:
        """Take down update number `step` (from 0). Raises TrainingDiverged if the loss is not sound."""
        self._check_finite(step, result, learning_rate)
        losses = (result.loss, *(result.parts[name] for name in self._parts))
        self.interval_sums = tuple(map(sum, zip(self.interval_sums, losses, strict=True)))
        self.interval_steps += 1
        num_done = step + 1
        if num_done % self._stride == 0 or num_done == self._total_steps:
            mean, *means = [total / self.interval_steps for total in self.interval_sums]
            self.curve.append(
                CurvePoint(
                    step=num_done,
                    epoch=num_done / self._steps_per_epoch,
                    loss=mean,
                    learning_rate=learning_rate,
                    logit_scale=logit_scale,
                    **dict(zip(self._parts, means, strict=True)),
                )
            )
            self.interval_steps, self.interval_sums = 0, self._nothing
        self._watch(step, result.loss)

    @property
    def _nothing(self) -> tuple[float, ...]:
        return (0.0,) * (1 + len(self._parts))

    def _check_finite(self, step: int, result: StepResult, learning_rate: float) -> None:
        if not result.is_finite:
            raise TrainingDiverged(
                "loss_not_finite",
                f"At update {step + 1} of {self._total_steps}, with a learning rate of {learning_rate:.3g}, "
                f"the loss is {result.loss:.6g} and the norm of its gradient {result.grad_norm:.6g}. "
                f"The last good state is {self._last_good}.",
                _REMEDY,
            )

    def _watch(self, step: int, loss: float) -> None:
        """Hold a running mean to the first loss, which is that of the weights that came in, and to chance.

        Chance is where all embeddings are alike. A rate that is too high ends there as often as in numbers
        without end, and a loss that stays there never is one that only runs away.
        """
        self._last_loss = loss
        if self.watch_start is None:
            self.watch_start = loss
        average = self.watch_start if self.watch_average is None else self.watch_average
        self.watch_average = WATCH_DECAY * average + (1 - WATCH_DECAY) * loss
        level = max(self.watch_start, self._chance_loss)
        if self.watch_average > RUNAWAY_BOUND * level:
            found = (
                f"over its bound of {RUNAWAY_BOUND * level:.3g}: {RUNAWAY_BOUND:g} times the loss of the "
                "first update, or of chance where that is more"
            )
        elif (
            self.watch_start <= KNOWS_SHARE * self._chance_loss
            and self.watch_average >= COLLAPSED_SHARE * self._chance_loss
        ):
            found = (
                f"where it began at {self.watch_start:.3g}: that is the loss of chance, "
                f"{self._chance_loss:.3g}, of a model to which all are alike"
            )
        else:
            return
        raise TrainingDiverged(
            "loss_diverged",
            f"At update {step + 1} of {self._total_steps} the running mean of the loss is "
            f"{self.watch_average:.3g}, {found}. The last good state is {self._last_good}.",
            _REMEDY,
        )

    @property
    def _last_good(self) -> str:
        if self.good_step is None:
            return "not known"
        is_input = ", the weights that came in" if self.good_step == 0 else ""
        return f"that of step {self.good_step}{is_input}"
