"""Which class the target names, and what is said where none is."""

from __future__ import annotations

import pytest

from sanitizer.audits.targets import find_target
from sanitizer.errors import OptionsRejected

NAMES = ("tench", "goldfish", "banana", "yellow seven", "yellow eight")


def test_the_exact_name_is_found() -> None:
    assert find_target("yellow seven", NAMES) == 3


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
        find_target(target, NAMES)
    assert refused.value.code == "unknown_target"
    assert refused.value.where == "audit.target"
    assert suggested in refused.value.remedy


def test_a_target_like_nothing_is_refused_with_examples() -> None:
    with pytest.raises(OptionsRejected, match="one of its 5 class names, for instance 'tench'"):
        find_target("zzzzzz", NAMES)


def test_a_name_that_two_classes_share_is_no_target() -> None:
    with pytest.raises(OptionsRejected) as refused:
        find_target("crane", ("crane", "ship", "crane"))
    assert refused.value.code == "ambiguous_target"
    assert "0, 2" in refused.value.message
