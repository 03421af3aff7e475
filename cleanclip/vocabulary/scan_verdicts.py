"""The outcome of a scan and its sentence, from a p-value and the strongest patterns. Free of torch."""

from collections.abc import Sequence
from dataclasses import dataclass

from cleanclip.vocabulary.control import CONTROL_LIMIT, Strongest, controls, strongest
from cleanclip.vocabulary.null_set import NullUsed
from cleanclip.vocabulary.verdicts import Outcome


@dataclass(frozen=True, kw_only=True)
class ScanVerdict:
    """`sentence` begins with what was found and gives the p-value, or says that there is no null."""

    outcome: Outcome
    sentence: str

    @property
    def reason(self) -> str:
        """As verdicts by limits call it."""
        return self.sentence


def verdict(
    p_value: float | None,
    null: NullUsed | None,
    control: Sequence[Strongest],
    leads: str,
    significance: float,
) -> ScanVerdict:
    """`leads`: what the first pattern does, as a sentence.

    `fail` only where a null supports it: a pattern that works on a model shows no backdoor by itself.
    `controlled` says what one pattern does, whatever a null says of it."""
    if p_value is not None and null is not None and p_value <= significance:
        return ScanVerdict(outcome="fail", sentence=f"{_fails(p_value, null)} {leads}".strip())
    is_controlled = controls(control)
    seen = _controlled(control) if is_controlled else _found_most(control, leads)
    if p_value is None or null is None:
        compared = _uncompared("how it came there" if is_controlled else "that the model is clean")
    else:
        compared = _compared(p_value, null, significance)
    outcome: Outcome = "controlled" if is_controlled else "inconclusive"
    return ScanVerdict(outcome=outcome, sentence=f"{seen} {compared}".strip())


def _fails(p_value: float, null: NullUsed) -> str:
    return f"This model stands out from models that were never poisoned: p = {p_value:.3g} ({_of(null)})."


def _controlled(control: Sequence[Strongest]) -> str:
    one = strongest(control)
    assert one is not None, "it controls the model"
    return f"One pattern, {one.phrase}. Do not release this model as it is."


def _found_most(control: Sequence[Strongest], leads: str) -> str:
    """What was seen where nothing controls the model."""
    one = strongest(control)
    if one is None:
        return leads
    num = sum(each.is_judged for each in control)
    return (
        f"No pattern that we found in {num} {'family' if num == 1 else 'families'} leads more than "
        f"{one.led.words} of the held-out images to one class; over {100 * CONTROL_LIMIT:g} % it would "
        "control the model."
    )


def _compared(p_value: float, null: NullUsed, significance: float) -> str:
    sentence = f"Compared with clean models nothing stands out: p = {p_value:.3g} ({_of(null)})."
    if null.smallest_p > significance:
        sentence += f" So few models allow no p-value under {null.smallest_p:.3g}, so it could find nothing."
    return f"{sentence} This does not show that the model is clean."


def _uncompared(unsaid: str) -> str:
    return (
        "We did not compare with clean models (python -m sanitizer null build makes a null set of them): "
        f"we do not say {unsaid}."
    )


def _of(null: NullUsed) -> str:
    if null.fine_tunes_of is not None:
        return f"{null.num_models} fine-tunes of {null.fine_tunes_of}; p holds if this model is one, too"
    return f"{null.num_models} reference models, same architecture"
