"""A trigger that a model has not seen, as like a given one as its family allows."""

from dataclasses import replace

from cleanclip.vocabulary.attack_options import (
    AttackOptions,
    BadNetOptions,
    BlendedOptions,
    LabelConsistentOptions,
    SIGOptions,
    TextTriggerOptions,
    WaNetOptions,
)

_OTHER_SEED = 1_000_003
_OTHER_PATTERN = {
    "gaussian_redrawn": "stripes_redrawn",
    "stripes_redrawn": "gaussian_redrawn",
    "checkerboard": "gaussian_fixed",
    "yellow": "white",
    "white": "yellow",
}
"""Of patterns that have no seed: another one of the same attack, place, size and opacity."""


def fresh_of(attack: AttackOptions) -> AttackOptions | None:
    """Another trigger of the family, target, place, size and strength of `attack`; None where there is none.

    A fixed pattern is drawn from another seed, a pattern without one is exchanged for another, SIG gets three
    waves more, triangles half the cell, and words are spelled backwards.
    """
    match attack:
        case BadNetOptions(pattern=pattern) if pattern in _OTHER_PATTERN:
            return replace(attack, pattern=_OTHER_PATTERN[pattern])  # type: ignore[arg-type]
        case BlendedOptions(pattern="triangles"):
            return replace(attack, cell=attack.cell / 2)
        case BlendedOptions(pattern="stripes_redrawn"):
            return replace(attack, pattern="uniform_redrawn")
        case BlendedOptions(pattern="uniform_redrawn"):
            return replace(attack, pattern="stripes_redrawn")
        case LabelConsistentOptions(pattern="gaussian_redrawn"):
            return replace(attack, pattern="gaussian_fixed", pattern_seed=_other(attack.pattern_seed))
        case BadNetOptions() | BlendedOptions() | LabelConsistentOptions() | WaNetOptions():
            return replace(attack, pattern_seed=_other(attack.pattern_seed))
        case SIGOptions():
            return replace(attack, frequency=attack.frequency + 3 if attack.frequency <= 509 else 6)
        case TextTriggerOptions() if attack.text != attack.text[::-1]:
            return replace(attack, text=attack.text[::-1])
        case _:
            return None


def _other(seed: int) -> int:
    return (seed + _OTHER_SEED) % 2**31
