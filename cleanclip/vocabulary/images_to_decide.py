"""How many images would settle what lies within an interval, if the figure stays what it is."""

import math
from collections.abc import Callable

from cleanclip.vocabulary.intervals import Z_95, newcombe, wilson
from cleanclip.vocabulary.measures import Difference, Estimate
from cleanclip.vocabulary.policy import MOST_IMAGES
from cleanclip.vocabulary.verdicts import against


def images_to_decide(estimate: Estimate, limit: float) -> int | None:
    """How many images would settle the share against `limit` if it stays what it is; None: no number would.

    The Wilson interval of n images excludes the limit once |share - limit| > z sqrt(limit (1 - limit) / n).
    """
    gap, spread = abs(estimate.value - limit), Z_95 * math.sqrt(limit * (1 - limit))
    if gap * math.sqrt(MOST_IMAGES) <= spread:
        return None
    n = max(estimate.n, math.ceil((spread / gap) ** 2))

    def is_decided(n: int) -> bool:
        low, high = wilson(round(estimate.value * n), n)
        return against(low, high, limit) != "undecided"

    return _first_decided(n, is_decided)


def images_to_decide_loss(lost: Difference, limit: float) -> int | None:
    """The same for the loss of accuracy, if every count of the paired table grows in proportion."""
    if lost.value == limit:
        return None
    table = (lost.both, lost.lost, lost.gained, lost.n - lost.both - lost.lost - lost.gained)

    def is_decided(n: int) -> bool:
        both, only_before, only_after, neither = (round(count * n / lost.n) for count in table)
        low, high = newcombe(both=both, lost=only_before, gained=only_after, neither=neither)
        return against(low, high, limit) != "undecided"

    return _first_decided(lost.n, is_decided)


def _first_decided(n: int, is_decided: Callable[[int], bool]) -> int | None:
    """The first of n, 1.1 n, 1.21 n … that decides, to three digits upwards; None beyond MOST_IMAGES."""
    while n <= MOST_IMAGES:
        rounded = _three_digits_up(n)
        if is_decided(rounded):
            return rounded
        n = max(n + 1, math.ceil(n * 1.1))
    return None


def _three_digits_up(n: int) -> int:
    unit: int = 10 ** max(0, len(str(n)) - 3)
    return math.ceil(n / unit) * unit
