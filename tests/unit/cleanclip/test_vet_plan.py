"""Triggers that no score of a vetting would use are refused, with what is missing."""

import pytest

from cleanclip.vocabulary.attack_options import BadNetOptions
from cleanclip.vocabulary.errors import OptionsRejected
from cleanclip.vocabulary.vet_options import VetOptions
from cleanclip.vocabulary.vet_plan import plan

TRIGGERS = (BadNetOptions(),)


@pytest.mark.parametrize(
    ("options", "has_anchor", "where", "why"),
    [
        (VetOptions(triggers=TRIGGERS), False, "vet.triggers", "it needs a trusted anchor"),
        (VetOptions(directions=((1.0,),)), False, "vet.directions", "it needs a trusted anchor"),
        (VetOptions(triggers=TRIGGERS, scores=("mismatch",)), True, "vet.triggers", "it was not asked for"),
    ],
)
def test_triggers_that_go_unused_are_refused(
    options: VetOptions, has_anchor: bool, where: str, why: str
) -> None:
    with pytest.raises(OptionsRejected) as refused:
        plan(options, has_anchor=has_anchor)
    assert (refused.value.code, refused.value.where) == ("triggers_unused", where)
    assert why in refused.value.message


def test_triggers_with_an_anchor_are_used() -> None:
    assert "trigger_direction" in plan(VetOptions(triggers=TRIGGERS), has_anchor=True).made
