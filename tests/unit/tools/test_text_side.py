"""The rows of the study of the text side: what the page says of them holds."""

from __future__ import annotations

import pytest

from tools.reference.text_side import THRESHOLD, flagged, is_implanted, rows, steps

PARTS = ("development", "held_out")


def test_every_step_of_a_model_has_one_row_and_held_out_ones_have_the_frozen_threshold() -> None:
    names = [(row["model"], row["step"]) for row in rows()]
    assert len(set(names)) == len(names)
    assert {row["threshold"] for row in steps("held_out", "search")} == {THRESHOLD}
    seeds = [{row["seed"] for row in rows() if row["part"] == part} for part in PARTS]
    assert not seeds[0] & seeds[1]


@pytest.mark.parametrize("part", PARTS)
def test_one_word_is_ranked_first_and_flagged_and_nothing_else_is(part: str) -> None:
    for row in steps(part, "search"):
        keys = [one for one in row["tokens"] if one["role"] == "key"]
        if row["kind"] not in {"clean", "two_words"}:
            assert [one["screen_rank"] for one in keys] == [1]
            assert flagged(row) == [one["token"] for one in keys]
        else:
            assert flagged(row) == []


def test_three_held_out_seeds_are_implanted() -> None:
    audits = [row for row in steps("held_out", "attack success") if row["kind"] != "clean"]
    for kind in ("word", "few_poisons", "two_words"):
        assert [row["seed"] for row in audits if row["kind"] == kind] == [101, 102, 103]
    assert all(is_implanted(row) for row in audits)
