"""The rows of the study of the text side: what the page says of them holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.reference.text_side import (
    THRESHOLD,
    flagged,
    is_implanted,
    rows,
    service_repairs,
    service_scans,
    steps,
)

PARTS = ("development", "held_out")


def test_every_step_of_a_model_has_one_row_and_held_out_ones_have_the_frozen_threshold() -> None:
    names = [(row["model"], row["step"]) for row in rows()]
    assert len(set(names)) == len(names)
    assert {row["threshold"] for row in steps("held_out", "search")} == {THRESHOLD}
    seeds = [{row["seed"] for row in rows() if row["part"] == part} for part in PARTS]
    assert not seeds[0] & seeds[1]


def test_the_tables_of_the_services_code_are_those_of_its_rows() -> None:
    text = (Path(__file__).parents[3] / "docs/text-side.md").read_text(encoding="utf-8")
    measured = rows("text-side-service.jsonl")
    for name, make in (("scans", service_scans), ("repairs", service_repairs)):
        start, end = (f"<!-- {word}: text side service {name} -->" for word in ("begin", "end"))
        region = text.partition(start)[2].partition(end)[0].strip()
        assert region == make().strip()
        assert len(region.splitlines()) > 2
    assert len(service_scans().splitlines()) + len(service_repairs().splitlines()) - 4 == len(measured)


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
