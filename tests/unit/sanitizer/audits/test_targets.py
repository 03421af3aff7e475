"""Which class the target names, and what is said where none is."""

import pytest

from cleanclip.vocabulary.attack_options import BadNetOptions, SIGOptions
from cleanclip.vocabulary.errors import OptionsRejected
from cleanclip.vocabulary.recipe import AuditOptions
from cleanclip.vocabulary.targets import find_target
from sanitizer.audits.targets import Targets, find_targets

NAMES = ("tench", "goldfish", "banana", "yellow seven", "yellow eight")


def test_the_exact_name_is_found() -> None:
    assert find_target("yellow seven", NAMES, where="audit.target") == 3


@pytest.mark.parametrize(
    ("target", "suggested"),
    [
        ("Banana", "'banana'"),
        ("bananna", "'banana'"),
        ("yellow sevn", "'yellow seven'"),
        ("seven", "'yellow seven'"),
    ],
)
def test_an_unknown_target_is_refused_with_near_names(target: str, suggested: str) -> None:
    with pytest.raises(OptionsRejected) as refused:
        find_target(target, NAMES, where="audit.attacks.2.target")
    assert refused.value.code == "unknown_target"
    assert refused.value.where == "audit.attacks.2.target"
    assert suggested in refused.value.remedy


def test_a_target_like_nothing_is_refused_with_examples() -> None:
    with pytest.raises(OptionsRejected, match="one of its 5 class names, for instance 'tench'"):
        find_target("zzzzzz", NAMES, where="audit.target")


def test_a_name_that_two_classes_share_is_no_target() -> None:
    with pytest.raises(OptionsRejected) as refused:
        find_target("crane", ("crane", "ship", "crane"), where="audit.target")
    assert refused.value.code == "ambiguous_target"
    assert "0, 2" in refused.value.message


def options(*targets: str | None) -> AuditOptions:
    return AuditOptions(target="banana", attacks=tuple(BadNetOptions(target=one) for one in targets))


def test_an_attack_without_a_target_of_its_own_leads_to_the_audits() -> None:
    assert find_targets(options(None, "tench"), NAMES) == Targets(own=2, of_attacks=(2, 0))
    assert find_targets(AuditOptions(target="tench", attacks=(SIGOptions(),)), NAMES).further == ()


def test_further_targets_are_told_once_and_never_the_audits_own() -> None:
    targets = ("yellow seven", "banana", None, "tench", "yellow seven")
    assert find_targets(options(*targets), NAMES).further == (3, 0)


def test_a_wrong_target_of_an_attack_is_refused_with_its_place() -> None:
    with pytest.raises(OptionsRejected) as refused:
        find_targets(options(None, "tench", "goldfsh"), NAMES)
    assert (refused.value.code, refused.value.where) == ("unknown_target", "audit.attacks.2.target")
    assert "'goldfish'" in refused.value.remedy
