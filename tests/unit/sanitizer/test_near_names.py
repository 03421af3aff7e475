"""Near names are found, at a cost that the names do not decide."""

import random
import time

import pytest

from cleanclip.vocabulary.near_names import near_names

CLASSES = ["tench", "goldfish", "great white shark", "Banana", "bananaquit", "zero", "one"]


@pytest.mark.parametrize(
    ("wanted", "first"),
    [
        ("bananna", "Banana"),
        ("BANANA", "Banana"),
        ("tnech", "tench"),
        ("gold fish", "goldfish"),
        ("zer", "zero"),
    ],
)
def test_a_mistyped_name_finds_the_one_that_is_meant(wanted: str, first: str) -> None:
    assert near_names(wanted, CLASSES)[0] == first


def test_names_that_are_not_alike_are_not_suggested() -> None:
    assert near_names("volcano", CLASSES) == []
    assert near_names("", [""]) == [""]


def test_names_made_to_be_compared_slowly_cost_less_than_a_tenth_of_a_second() -> None:
    """Of this thread's processor time; `difflib` takes 3 ms for each of them."""
    letters = "abab" * 49
    shuffled = random.Random(0)
    names = ["".join(shuffled.sample(letters, len(letters))) for _ in range(5_000)]
    started_s = time.thread_time()
    near_names(letters, names)
    assert time.thread_time() - started_s < 0.1
