"""Which look of a ladder is chosen, from validation figures alone. The library chooses by this, and
`cleanclip verify` chooses again. Knows no model.

A look *meets the policy* if every limit holds by its bound: the upper bound of the share of each attack that
worked on the input model, the upper bound of the clean accuracy lost; if no attack that did not work before
works in part now; and if no trigger leads to a class of its own. The share is ASR; of an attack that worked
towards another class than its target, that of the images that are given this class, as in the verdict
(`cleanclip.spec.judging`). An attack that the verdict does not judge takes no part. It *meets the unknown* if
no surrogate trigger and no fresh pattern sends more than `UNKNOWN_AT_MOST` of the images to one class, by the
upper bound; where patterns were not inverted and no surrogate does, that is not known. Then:

1. Of the looks that meet both, the first: rungs have a fixed order.
2. Else, of those that meet the policy, the one whose worst such share has the smallest upper bound.
3. Else the one with the smallest excess: the largest distance of a bound from its limit. No other look is
   better in every limit. The first of equals.

The *front* compares values, not bounds, so the chosen look can lie off it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cleanclip.spec.auto_figures import Choice, Look, RungFigures, UniversalShare, Validated
from cleanclip.spec.measures import Estimate, Towards
from cleanclip.spec.policy import Policy
from cleanclip.spec.scan_section import ScanSection

UNKNOWN_AT_MOST = 0.3
"""In single runs patches sent up to 20 % of images to one class on models that were never poisoned, and 66 to
100 % on poisoned ones."""


@dataclass(frozen=True, kw_only=True)
class Judge:
    """What looks are held against: the order's limits, and what worked on the input model, `before`.

    `kinds`: of every attack its kind. `not_judged`: numbers of the attacks that take no part.
    """

    before: Validated
    kinds: Sequence[str]
    policy: Policy
    gate: float
    not_judged: Sequence[int] = ()

    def led(self, figures: Validated, number: int) -> Towards | None:
        """The class other than its target by which the attack of that number is judged: one that it leads to
        on this model, else the one that it led to on the input model. None: neither."""
        if number in self.not_judged:
            return None
        was, now = self.before.attacks[number], figures.attacks[number]
        if now.elsewhere is not None and now.elsewhere.works(self.gate):
            return now.elsewhere
        has_led = was.asr.value < self.gate and was.elsewhere is not None and was.elsewhere.works(self.gate)
        return now.as_before if has_led else None

    def share(self, figures: Validated, number: int) -> Estimate | None:
        """What of the attack of that number is held against its limit: the share of the class of `led`, else
        ASR if the attack worked on the input model, else nothing."""
        if (led := self.led(figures, number)) is not None:
            return led.triggered
        has_worked = self.before.attacks[number].asr.value >= self.gate
        return figures.attacks[number].asr if has_worked and number not in self.not_judged else None

    def limit(self, number: int) -> float:
        """On the ASR of the attack of that number."""
        return self.policy.limit_of(self.kinds[number])[1]

    def over_limits(self, figures: Validated) -> dict[int, float]:
        """Of each attack that has a share, by its number: how far this is over its own limit; below 0 where
        it is within."""
        shares = {number: self.share(figures, number) for number in range(len(self.kinds))}
        return {
            number: share.value - self.limit(number) for number, share in shares.items() if share is not None
        }

    def excess(self, look: Look) -> float:
        """The largest distance of a bound over its limit; 0 where the look meets the policy."""
        over = [look.ca_lost.high - self.policy.ca_lost_at_most]
        for number, now in enumerate(look.figures.attacks):
            if number in self.not_judged:
                continue
            limit, led = self.limit(number), self.led(look.figures, number)
            if self.before.attacks[number].asr.value >= self.gate:
                over.append(now.asr.high - limit)
            elif now.asr.low > max(limit, now.untriggered_target_rate.high):
                over.append(now.asr.low - limit)
            if led is not None:
                over.append(led.triggered.high - limit)
                if led.works(self.gate):  # whatever the limit
                    over.append(led.triggered.low - led.untriggered.high)
        return max(0.0, *over)

    def meets_both(self, look: Look) -> bool:
        """Whether the ladder ends with this look."""
        return self.excess(look) == 0 and meets_unknown(look.figures) is True

    def worst_attack(self, figures: Validated) -> int | None:
        """The number of the attack that is the farthest over its limit, or the nearest to it, of those that
        have a share; None where none has."""
        over = self.over_limits(figures)
        return max(over, key=lambda number: over[number], default=None)


def not_judged(scan: ScanSection | None, before: Sequence[Estimate]) -> list[int]:
    """Numbers of the attacks that only `scan` found, where it did not fail."""
    return [number for number, one in enumerate(before) if scan is not None and not scan.judges(number, one)]


def worst(shares: Sequence[UniversalShare]) -> tuple[UniversalShare, ...]:
    """The one that sends the most images, if there is one."""
    return tuple(sorted(shares, key=lambda one: -one.moved.value)[:1])


def works_unknown(one: UniversalShare) -> bool:
    """Whether a change sends more images to one class than allowed, by the upper bound."""
    return one.moved.high > UNKNOWN_AT_MOST


def meets_unknown(figures: Validated) -> bool | None:
    """None where no surrogate works and no pattern was inverted."""
    if any(map(works_unknown, (*figures.surrogates, *figures.patterns))):
        return False
    return True if figures.patterns else None


def places_of(rungs: Sequence[RungFigures]) -> list[tuple[int, int]]:
    """Of every look the number of its rung and its own, in the order of the ladder."""
    return [(number, place) for number, rung in enumerate(rungs) for place in range(len(rung.looks))]


def choose(rungs: Sequence[RungFigures], judge: Judge) -> Choice | None:
    """None where there is no look."""
    places = places_of(rungs)
    if not places:
        return None
    ranked = {at: _rank(rungs[at[0]].looks[at[1]], judge) for at in places}
    number, place = chosen = min(places, key=lambda at: ranked[at])  # the first of equals
    step, value = ranked[chosen]
    reason = (
        "The first that meets the policy and shows no other universal trigger",
        f"Meets the policy, but a surrogate trigger or fresh pattern sends up to {100 * value:.1f} % of "
        "images to one class, the smallest such share",
        f"No rung meets the policy; this is the nearest, {_points(value)} over a limit by its bound",
    )[step - 1]
    look = rungs[number].looks[place]
    reason += f": {rungs[number].name}, after epoch {look.epoch}."
    if not look.figures.patterns:
        reason += " Fresh patterns were not inverted on it."
    return Choice(
        rung=number,
        look=place,
        meets_policy=step < 3,
        meets_unknown=meets_unknown(look.figures),
        reason=reason,
    )


def _points(excess: float) -> str:
    """Never "0.0 points", which would read as within the limit."""
    rounded = f"{100 * excess:.1f}"
    return "less than 0.1 points" if rounded == "0.0" else f"{rounded} points"


def _rank(look: Look, judge: Judge) -> tuple[int, float]:
    """Which step of the list above would take the look, and what that step compares: less is better."""
    excess = judge.excess(look)
    if excess > 0:
        return 3, excess
    if meets_unknown(look.figures):
        return 1, 0.0
    worst = [one.moved.high for one in (*look.figures.surrogates, *look.figures.patterns)]
    return 2, max(worst, default=1.0)


def on_front(rungs: Sequence[RungFigures], judge: Judge) -> list[tuple[int, int]]:
    """Places of looks that no other beats in both the accuracy lost and how far the worst attack is over its
    limit. Empty where no attack has a share."""
    points = {
        at: (look.ca_lost.value, max(over.values()))
        for at in places_of(rungs)
        for look in [rungs[at[0]].looks[at[1]]]
        if (over := judge.over_limits(look.figures))
    }
    return [
        at
        for at, (lost, over) in points.items()
        if not any(
            other[0] <= lost and other[1] <= over and other != (lost, over) for other in points.values()
        )
    ]
