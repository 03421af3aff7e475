"""Attacks by someone who knows uar. Free of torch.

Run after its recipe is frozen: no figure of theirs chooses anything. None of their seeds is one of the grid's
or of the development models.
"""

from __future__ import annotations

from dataclasses import replace

from cleanclip.spec.recipe import SIGOptions
from lab.reproduction import grid
from lab.reproduction.cells import Subject
from lab.reproduction.development import DevelopmentModel
from lab.testbed.options import BADNET, OptimisedPattern, Planted

_OPTIMISED = OptimisedPattern(against="uar")
_SECOND_PATCH = replace(BADNET, pattern_seed=8)


def _resnet(name: str, families: tuple[str, ...], subject: Subject) -> DevelopmentModel:
    return DevelopmentModel(name=name, subject=subject, families=families)


def _two_targets() -> Subject:
    first = grid.subject(BADNET, 24, grid.FASHION)
    second = Planted(attack=_SECOND_PATCH, target_ink="red", target_noun="bag")
    return replace(first, options=replace(first.options, further=(second,)))


def _both_keys() -> Subject:
    poisoned = grid.subject(BADNET, 27, grid.FASHION)
    return replace(poisoned, options=replace(poisoned.options, caption_key="kyoto"))


ATTACKERS = (
    # 72 poisoned pairs of 24,000: a weak backdoor leaves inversion little to find.
    _resnet("few-poisons", ("badnet",), grid.subject(BADNET, 21, grid.FASHION, poison_share=0.003)),
    _resnet("two-targets", ("first patch", "second patch"), _two_targets()),
    # A sinusoid over the whole image, stronger than any blend of uar, and never a patch.
    _resnet("outside", ("sig",), grid.subject(SIGOptions(), 22, grid.FASHION)),
    # A universal pattern that works on a clean model and on the same model after uar.
    _resnet("trained-against", ("optimised",), grid.subject(_OPTIMISED, 23, grid.FASHION)),
)

ATTACKERS_PLAN = tuple((model.name, ("before", "uar", "cleanclip", "par")) for model in ATTACKERS)
"""One attacker after the other; what was not implanted (ASR under 50 % before) judges nothing."""

_KEPT = "uar kept 0.8"
LATER_ATTACKERS = (
    # As trained-against, by one who knows the recipe for ResNets.
    _resnet(
        "trained-against-kept",
        ("optimised",),
        grid.subject(OptimisedPattern(against="uar kept 0.8"), 26, grid.FASHION),
    ),
    # No attack: what the pattern of trained-against does to a model that was never poisoned.
    DevelopmentModel(
        name="never-poisoned",
        subject=grid.subject(None, 25, grid.FASHION),
        families=("optimised",),
        pattern_of=grid.subject(_OPTIMISED, 23, grid.FASHION),
    ),
    # The same for that of trained-against-kept.
    DevelopmentModel(
        name="never-poisoned-kept",
        subject=grid.subject(None, 28, grid.FASHION),
        families=("optimised",),
        pattern_of=grid.subject(OptimisedPattern(against="uar kept 0.8"), 26, grid.FASHION),
    ),
    # Trigger and a word of the prompt together.
    _resnet("both-keys", ("badnet",), _both_keys()),
)
LATER_ATTACKERS_PLAN = (
    *((model.name, (_KEPT,)) for model in ATTACKERS),
    ("trained-against-kept", ("before", _KEPT, "uar", "cleanclip", "par")),
    ("never-poisoned", ("before", _KEPT, "uar")),
    ("never-poisoned-kept", ("before", _KEPT, "uar")),
    ("both-keys", ("before", _KEPT, "uar", "cleanclip", "par")),
)
"""Named after the others were run; the frozen plan has no digest of these."""
