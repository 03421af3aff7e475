"""Figures and sentences as the reasons of a verdict spell them."""

from cleanclip.vocabulary.audit_figures import AttackFigures
from cleanclip.vocabulary.control import NotSearched, Search
from cleanclip.vocabulary.measures import Estimate
from cleanclip.vocabulary.verdicts import AttackVerdict, Outcome

NOT_JUDGED = "Found by a scan that did not fail; clean models have such patterns too, so it is not judged."
"""True with a null and without one."""
NO_ORIGIN = "Only a scan found it; clean models may have such a pattern, so its origin is not known."

_MAY_BE_RELEASED = frozenset({"pass", "inconclusive"})


def of_search(outcome: Outcome, judged: AttackVerdict | None, search: Search | None) -> str:
    """What a verdict says of the search for patterns on a cleaned model. Of one that was not made it says so
    where a reader may release on the outcome; else it is empty. `judged`: the verdict on what it found."""
    if judged is not None:
        return judged.reason
    return search.sentence if isinstance(search, NotSearched) and outcome in _MAY_BE_RELEASED else ""


def share(estimate: Estimate) -> str:
    """ "12.50 % (95 % interval 11.00 to 14.10 %, n = 1000)"."""
    low, high = 100 * estimate.low, 100 * estimate.high
    return f"{percent(estimate.value)} (95 % interval {low:.2f} to {high:.2f} %, n = {estimate.n})"


def percent(value: float) -> str:
    """ "12.50 %"."""
    return f"{100 * value:.2f} %"


def points(value: float) -> str:
    """ "12.50"."""
    return f"{100 * value:.2f}"


def below_gate(attack: AttackFigures, gate: float) -> str:
    """Why an attack that did not work before is inconclusive."""
    return f"ASR before was {share(attack.asr)}, under the gate of {percent(gate)}: nothing is shown."
