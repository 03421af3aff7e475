"""The learning rate as a pure function of the step: linear warm-up, then cosine to zero.

Steps are counted from 0 by updates, not by epochs, so that the first update of a run is step 0 whatever
was trained before (the published code starts one epoch late; see docs/decisions/0011).
"""

import math
from collections.abc import Sequence

from cleanclip.vocabulary.uar_recipe import Stage


def rate_factor(step: int, *, warmup_steps: int, total_steps: int) -> float:
    """Share of the base rate for update number `step` (0 ≤ step < total_steps).

    (step + 1) / warmup_steps while step < warmup_steps, so that no update is wasted at rate 0; then
    (1 + cos(pi * (step - warmup_steps) / (total_steps - warmup_steps))) / 2. Both pieces are 1 where
    they meet. With warmup_steps >= total_steps the run ends inside its warm-up.
    """
    if not 0 <= step < total_steps:
        raise ValueError(f"step {step} is outside a run of {total_steps} steps")
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return 0.5 * (1 + math.cos(math.pi * (step - warmup_steps) / (total_steps - warmup_steps)))


def rate(step: int, base: float, *, initial: float, warmup_steps: int, total_steps: int) -> float:
    """The learning rate of update number `step`: `base` times `rate_factor`, but that the warm-up goes in
    equal parts from `initial` to `base` (PAR comes down from a higher one, arXiv 2412.00727)."""
    factor = rate_factor(step, warmup_steps=warmup_steps, total_steps=total_steps)
    return initial + (base - initial) * factor if step < warmup_steps else base * factor


def stage_of(stages: Sequence[Stage], step: int, *, steps_per_epoch: int) -> tuple[int, int, int]:
    """Which of `stages` update number `step` is in; its number there, and how many updates that stage has."""
    number = max(n for n, stage in enumerate(stages) if stage.first_epoch * steps_per_epoch <= step)
    stage = stages[number]
    return number, step - stage.first_epoch * steps_per_epoch, stage.num_epochs * steps_per_epoch
