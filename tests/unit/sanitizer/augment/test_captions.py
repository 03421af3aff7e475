"""EDA on any string, and the synonym table it draws from."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sanitizer.augment.captions import (
    STOP_WORDS,
    augment_caption,
    delete,
    insert_synonyms,
    replace_synonyms,
    swap,
    synonym_table,
)
from sanitizer.seeding import generator

CAPTION = "The big dog sleeps under a red table, near the house"
WORDS = CAPTION.split()
AWKWARD = [
    "",
    " ",
    "\t\n",
    "12345",
    "1 2 3",
    "一只红色的狗",
    "🐕",
    "🐕 🏠 🌳",
    "dog",
    "cd",
    "...",
    "a",
    "the a of",
    "\ud800",
]


def rng(index: int = 0) -> np.random.Generator:
    return generator(0, "caption_view", 0, index)


def synonyms_of(word: str) -> list[str]:
    """Of a lower-case word; none of a word that the table does not know."""
    return synonym_table().get(word, "").split()


@settings(max_examples=300, deadline=None)
@given(caption=st.text(), alpha=st.floats(0, 1), index=st.integers(0, 1000))
def test_any_string_has_a_view(caption: str, alpha: float, index: int) -> None:
    view = augment_caption(caption, alpha, rng(index))
    assert isinstance(view, str)
    assert bool(view.split()) == bool(caption.split())


@pytest.mark.parametrize("caption", AWKWARD)
def test_awkward_captions_have_a_view_for_every_operation(caption: str) -> None:
    for index in range(40):
        assert bool(augment_caption(caption, 0.1, rng(index)).split()) == bool(caption.split())


def test_a_caption_of_ten_thousand_words_has_a_view() -> None:
    caption = " ".join(WORDS * 1000)
    lengths = {len(augment_caption(caption, 0.1, rng(index)).split()) for index in range(12)}
    assert len(lengths) > 1


def test_nothing_to_change_gives_the_caption_back_with_its_spaces() -> None:
    assert augment_caption("  一只红色的狗  ", 0.1, rng()) == "  一只红色的狗  "
    assert augment_caption("two  spaces", 0.0, rng()) == "two  spaces"


def test_replacement_changes_n_words_for_their_own_synonyms_and_no_stop_word() -> None:
    for index in range(100):
        changed = replace_synonyms(WORDS, 2, rng(index))
        differing = [(old, new) for old, new in zip(WORDS, changed, strict=True) if old != new]
        assert len(differing) == 2
        for old, new in differing:
            core = old.strip(",").lower()
            assert core not in STOP_WORDS
            assert new.strip(",") in synonyms_of(core)
            assert new.endswith(",") == old.endswith(",")


def test_replacement_changes_every_word_it_can_when_n_is_larger() -> None:
    assert replace_synonyms(["dog", "xyzzy"], 10, rng())[1] == "xyzzy"
    assert replace_synonyms(["dog", "xyzzy"], 10, rng())[0] in synonyms_of("dog")


def test_insertion_adds_n_synonyms_and_keeps_the_words_in_order() -> None:
    known = {synonym for word in WORDS for synonym in synonyms_of(word.strip(",").lower())}
    for index in range(100):
        changed = insert_synonyms(WORDS, 3, rng(index))
        assert len(changed) == len(WORDS) + 3
        remaining = iter(changed)
        assert all(word in remaining for word in WORDS)  # a subsequence
        assert sum((Counter(changed) - Counter(WORDS)).values()) == 3
        assert set(Counter(changed) - Counter(WORDS)) <= known


def test_a_swap_moves_exactly_two_words() -> None:
    words = [str(number) for number in range(9)]
    for index in range(100):
        changed = swap(words, 1, rng(index))
        assert sorted(changed) == words
        assert sum(old != new for old, new in zip(words, changed, strict=True)) == 2


def test_deletion_drops_each_word_with_probability_alpha() -> None:
    words = [str(number) for number in range(50)]
    kept = [len(delete(words, 0.1, rng(index))) for index in range(400)]
    # 20,000 words at 0.9: five standard deviations are 0.011.
    assert abs(sum(kept) / 20_000 - 0.9) < 0.011
    assert delete(["only", "these"], 1.0, rng())[0] in {"only", "these"}


def test_the_four_operations_are_drawn_alike_often() -> None:
    words = [f"dog{number}" for number in range(10)] + ["dog"]  # only the last has synonyms
    seen: Counter[str] = Counter()
    for index in range(2000):
        view = augment_caption(" ".join(words), 0.5, rng(index)).split()
        if len(view) > len(words):
            seen["insert"] += 1
        elif len(view) == len(words) and sorted(view) != sorted(words):
            seen["replace"] += 1
        elif sorted(view) == sorted(words) and view != words:
            seen["swap"] += 1
        elif len(view) < len(words):
            seen["delete"] += 1
    # 500 each; five standard deviations are 97. Deleting nothing and swapping back (rare) count for none.
    assert all(abs(seen[name] - 500) < 110 for name in ("insert", "replace", "swap", "delete")), seen


def test_the_next_epoch_draws_another_view() -> None:
    views = {augment_caption(CAPTION, 0.1, generator(0, "caption_view", epoch, 7)) for epoch in range(20)}
    assert len(views) > 5


def test_no_synonym_is_empty_or_its_own_word() -> None:
    for word in ("cd", "dog", "red", "run", "well"):
        synonyms = synonyms_of(word)
        assert synonyms
        assert word not in synonyms
        assert all(synonym.strip() for synonym in synonyms)
    assert synonyms_of("xyzzy") == []
