"""What a run takes down about itself: the curve, and whether the loss ran away.

Its whole memory goes into a `Position` and comes back from one, so that a resumed run draws the same
curve and stops at the same step as one that was never cut.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NoReturn

from cleanclip.vocabulary.errors import TrainingDiverged
from cleanclip.vocabulary.report import CurvePoint
from sanitizer.training.state import Position, Watch
from sanitizer.training.step import StepResult

MAX_CURVE_POINTS = 500
WATCH_STEPS = 10
WATCH_DECAY = 0.98
WATCH_BOUND = 2.0
COLLAPSED_STEPS, COLLAPSED_WITHIN = 30, 0.02
"""So many losses in a row, each within this share of chance, are of a model to which all are alike: those of
one that still knows something, or is wrong, scatter far more."""
KNOWS_AT_MOST = 0.9
"""Of the loss of chance, in the mean of the first updates: or there was nothing to forget."""

_REMEDY = (
    "Order it again with a lower learning rate, and look at the data for broken captions; the "
    "same order most likely fails again. The input weights and their figures are unchanged."
)


class Record:
    """At most `MAX_CURVE_POINTS` points of the curve, each the mean over the steps since the one before."""

    def __init__(
        self,
        *,
        total_steps: int,
        steps_per_epoch: int,
        parts: Sequence[str],
        chance_loss: float,
        watched_part: str | None = None,
    ) -> None:
        """The last three are the method's (`Method`), `chance_loss` for this run's batch."""
        self._parts = tuple(parts)
        self._total_steps = total_steps
        self._steps_per_epoch = steps_per_epoch
        self._chance_loss = chance_loss
        self._watched_part = watched_part
        self._stride = math.ceil(total_steps / MAX_CURVE_POINTS)
        self.curve: list[CurvePoint] = []
        self.interval_steps = 0
        self.interval_sums = self._nothing
        self.watch = Watch()
        self.good_step: int | None = None
        """The step of the last state that was saved while the loss was good (`saving`)."""

    def restore(self, position: Position) -> None:
        """Continue where `position` was taken."""
        self.curve = list(position.curve)
        self.interval_steps = position.interval_steps
        self.interval_sums = position.interval_sums or self._nothing
        self.watch = position.watch
        self.good_step = position.good_step

    def saving(self, step: int) -> bool:
        """A state after `step` updates is about to be saved: whether it is a good one, which is remembered.

        Good is the state from before the first update, and one at which the last loss and the running mean
        are nearer to the mean of the first ones than to chance, or no more than that mean where it is over
        chance. Until there is a running mean, none but the first is.
        """
        is_good, watch = step == 0, self.watch
        if watch.average is not None and watch.last is not None:
            highest = max(watch.first_mean, (watch.first_mean + self._chance_loss) / 2)
            is_good |= max(watch.average, watch.last) <= highest
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
        self._watch(step, result.loss if self._watched_part is None else result.parts[self._watched_part])

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
        """A loss that runs away, and one that has come to chance and stays there."""
        is_at_chance = abs(loss - self._chance_loss) <= COLLAPSED_WITHIN * self._chance_loss
        watch = replace(self.watch, last=loss, at_chance=self.watch.at_chance + 1 if is_at_chance else 0)
        if watch.first_steps < WATCH_STEPS:
            self.watch = replace(watch, first_sum=watch.first_sum + loss, first_steps=watch.first_steps + 1)
            return
        before = watch.first_mean if watch.average is None else watch.average
        average = WATCH_DECAY * before + (1 - WATCH_DECAY) * loss
        self.watch = replace(watch, average=average)
        bound = WATCH_BOUND * max(watch.first_mean, self._chance_loss)
        if average > bound:
            self._end(
                step,
                f"the running mean of the loss is {average:.3g}, over its bound of "
                f"{bound:.3g}: {WATCH_BOUND:g} times the mean of the first {watch.first_steps} "
                "updates, or of the loss of chance if that is larger",
            )
        if watch.at_chance >= COLLAPSED_STEPS and watch.first_mean < KNOWS_AT_MOST * self._chance_loss:
            self._end(
                step,
                f"the loss is {loss:.3g}, where it began at {watch.first_mean:.3g}, and has been that of "
                f"chance, {self._chance_loss:.3g}, for {watch.at_chance} updates: the model has "
                "forgotten all",
            )

    def _end(self, step: int, reason: str) -> NoReturn:
        raise TrainingDiverged(
            "loss_diverged",
            f"At update {step + 1} of {self._total_steps} {reason}. "
            f"The last good state is {self._last_good}.",
            _REMEDY,
        )

    @property
    def _last_good(self) -> str:
        if self.good_step is None:
            return "not known"
        is_input = ", the input weights" if self.good_step == 0 else ""
        return f"that of step {self.good_step}{is_input}"
