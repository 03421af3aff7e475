"""Checks what a report says of heads and activation: all but the figures follows from what came in."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cleanclip.vocabulary.jobspec import REPORT_NAME
from cleanclip.vocabulary.published import Published
from cleanclip.vocabulary.settled import MIN_IMAGES, Setting, SettledArchitecture
from sanitizer.checkpoints.architecture import Architecture
from sanitizer.checkpoints.choices import shown
from sanitizer.checkpoints.plausible import plausible_values
from sanitizer.checkpoints.settings import (
    Settings,
    compared,
    known_by,
    measurable,
    not_compared,
    not_measurable,
    published_of,
)
from worker.failures import outputs_rejected


def check_settings(
    claimed: SettledArchitecture,
    came_in: Architecture,
    origin: Mapping[str, Any],
    *,
    seed: int,
    can_measure: bool,
) -> Architecture:
    """The architecture that was settled. Raises AttemptFailed.

    What a setting is known by, and why, is worked out again from `origin` (section "checkpoint" of the
    canonical configuration), the plausible values and the figures. Left to believe are the figures, which a
    second audit measures again. `can_measure`: whether the dataset has images enough, so that they must be
    there.
    """
    if claimed.seed != seed or (0 < claimed.n < MIN_IMAGES) or (claimed.n == 0 and can_measure):
        raise outputs_rejected(f"its {REPORT_NAME} did not measure the settings as it was ordered")
    ours = [*_compared(claimed, came_in, origin), *not_measurable(came_in, origin)]
    if len(claimed.settings) != len(ours):
        raise outputs_rejected(f"its {REPORT_NAME} settles other options than there are")
    for said, one in zip(claimed.settings, ours, strict=True):
        if said != one:
            raise outputs_rejected(
                f"its {REPORT_NAME} says of {one.option} what cannot follow from the input"
            )
    try:
        return Settings.read(claimed.values()).applied(came_in)
    except (ArithmeticError, LookupError, ValueError) as error:
        raise outputs_rejected(f"its {REPORT_NAME} settles on an architecture that cannot be") from error


def _compared(
    claimed: SettledArchitecture, came_in: Architecture, origin: Mapping[str, Any]
) -> Iterator[Setting]:
    """The `measurable` settings as they must be reported, given the figures that are."""
    present, known = Settings.of(came_in), known_by(came_in, origin)
    values = plausible_values(came_in, known)
    for option, said in zip(measurable(came_in), claimed.settings, strict=False):
        unmeasured = not_compared(option, shown(getattr(present, option)), known[option], origin)
        if claimed.n == 0 or len(values[option]) == 1:
            yield unmeasured
        else:
            yield _as_compared(said, unmeasured, values[option], published_of(came_in))


def _as_compared(
    setting: Setting, unmeasured: Setting, values: Sequence[Any], prior: Published | None
) -> Setting:
    chosen, runner_up, margin = setting.chosen, setting.runner_up, setting.margin
    if chosen is None or runner_up is None or margin is None:
        raise outputs_rejected(f"its {REPORT_NAME} has no figures of {unmeasured.option}")
    names = [shown(value) for value in values]
    may_be = names if unmeasured.settled == "assumed" else names[:1]
    if chosen.value not in may_be or runner_up.value not in names or runner_up.value == chosen.value:
        raise outputs_rejected(f"its {REPORT_NAME} gives {unmeasured.option} a value that is known otherwise")
    settled = compared(unmeasured, values, prior, chosen=chosen, runner_up=runner_up, margin=margin)
    if settled.settled == "assumed":
        raise outputs_rejected(f"its {REPORT_NAME} settles {unmeasured.option} though the images do not")
    return settled
