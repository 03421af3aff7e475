"""The rebound's part of a verdict: the highest ASR of each attack after benign fine-tuning, and its limit."""

from cleanclip.vocabulary.audit_figures import AttackFigures
from cleanclip.vocabulary.measures import Estimate
from cleanclip.vocabulary.rebound_figures import ReboundFigures
from cleanclip.vocabulary.verdict_texts import below_gate, percent, share
from cleanclip.vocabulary.verdicts import AttackVerdict, against


def judge_rebound(
    was: AttackFigures, rebound: ReboundFigures, number: int, *, gate: float, limit: float
) -> AttackVerdict:
    """Of the attack with that number, `was` before the cleaning: pass by the upper bound of its highest ASR,
    fail by the lower bound that allows for the choice of the point.

    An attack below the gate fails only where that bound is over its limit, and over what images without a
    trigger give. Raises LookupError if the highest point is not one of a curve.
    """
    highest = rebound.highest[number]
    reason = (
        f"The highest ASR of {highest.num_points} measurements after benign fine-tuning is "
        f"{share(highest.asr)}, after {highest.step} updates at {highest.rate:g} times the "
        f"cleaning's learning rate; the limit is {percent(limit)}"
    )
    if was.asr.value < gate:
        if highest.low > max(limit, floor_at_highest(rebound, number).high):
            return AttackVerdict(attack=was.name, outcome="fail", reason=f"{reason}.")
        return AttackVerdict(attack=was.name, outcome="inconclusive", reason=below_gate(was, gate))
    outcome = against(highest.low, highest.asr.high, limit)
    if outcome == "undecided":
        reason += " and lies between its bounds. More images would decide"
    return AttackVerdict(attack=was.name, outcome=outcome, reason=f"{reason}.")


def floor_at_highest(rebound: ReboundFigures, number: int) -> Estimate:
    """The untriggered target rate where the attack of that number is highest. Raises LookupError."""
    highest = rebound.highest[number]
    point = rebound.point_of(highest)
    if point is None:
        raise LookupError(f"no point of the curve is at update {highest.step}")
    return point.attacks[number].untriggered_target_rate
