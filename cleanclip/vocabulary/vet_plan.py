"""What a vetting can compute from what it is given, and how many samples it needs. Free of torch."""

import math
from dataclasses import dataclass

from cleanclip.vocabulary.errors import OptionsRejected
from cleanclip.vocabulary.vet_options import SCORE_NAMES, ScoreName, VetOptions

NEEDS_ANCHOR = frozenset({"disagreement", "residual", "trigger_direction"})
PASSES_OF_SENSITIVITY = 9
NO_TRUSTED = (
    "No trusted samples were given: samples are sorted among themselves, and some are set aside in any case. "
    "How much of a poison is among them is not known."
)
NO_ANCHOR = (
    "No anchor was given: captions are judged by the suspect itself, which believes the captions that it was "
    "poisoned with. In a trial with 40 poisoned pairs of 4,000 the 200 that were set aside held 6 of them "
    "without an anchor (chance: 2), and 38 with one. Give another checkpoint that you trust as the anchor."
)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Which scores are made, and why the others are not."""

    made: tuple[ScoreName, ...]
    left_out: tuple[tuple[ScoreName, str], ...]


def plan(options: VetOptions, *, has_anchor: bool) -> Plan:
    """Raises OptionsRejected `score_without_input` where a score that was asked for by name cannot be
    made, and `triggers_unused` where triggers or directions are given that no score uses."""
    made: list[ScoreName] = []
    left_out: list[tuple[ScoreName, str]] = []
    for name in SCORE_NAMES:
        why = _why_not(name, options, has_anchor=has_anchor)
        if why is not None and options.scores is not None and name in options.scores:
            raise OptionsRejected(
                "score_without_input",
                f"The score {name} cannot be computed: {why}.",
                "Give what it needs, or leave the score out.",
                where="vet.scores",
            )
        if why is None and options.scores is not None and name not in options.scores:
            why = "it was not asked for"
        if why is None and options.scores is None and name == "sensitivity":
            why = "it takes nine times as long and was not asked for"
        if why is None:
            made.append(name)
        else:
            left_out.append((name, why))
    why_unused = dict(left_out).get("trigger_direction")
    if why_unused is not None and (options.triggers or options.directions):
        raise OptionsRejected(
            "triggers_unused",
            f"Triggers and directions are for the score trigger_direction alone, and {why_unused}.",
            "Give what it needs, or leave triggers and directions out.",
            where="vet.triggers" if options.triggers else "vet.directions",
        )
    return Plan(made=tuple(made), left_out=tuple(left_out))


def _why_not(name: ScoreName, options: VetOptions, *, has_anchor: bool) -> str | None:
    if name in NEEDS_ANCHOR and not has_anchor:
        return "it needs a trusted anchor"
    if name == "trigger_direction" and not (options.triggers or options.directions):
        return "no trigger and no direction was given"
    return None


def fewest_samples(options: VetOptions) -> int:
    """Good samples that a set needs to be vetted."""
    return options.neighbours + 2


def fewest_trusted(options: VetOptions) -> int:
    """Good trusted samples that p-values as low as the share need, when half of them fit."""
    return 2 * math.ceil(1 / options.share)


def num_embedded(options: VetOptions, num_samples: int, num_trusted: int | None, *, has_anchor: bool) -> int:
    """Images that pass through a model: through each model, and again for each mask of `sensitivity`."""
    passes = 1 + has_anchor + (PASSES_OF_SENSITIVITY - 1) * ("sensitivity" in (options.scores or ()))
    return (num_samples + min(num_trusted or 0, options.max_trusted)) * passes
