"""Judgements and tables from made-up rows whose figures are known."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.freezing import HeldOut
from lab.zoo import figures
from lab.zoo.figures import tables, with_tables
from lab.zoo.freezing import Gate
from lab.zoo.judging import judge_all
from lab.zoo.plan import Split
from lab.zoo.published import Rows
from lab.zoo.rows import append
from tests.unit.zoo.made_up import model_row, of_plan, scan_row

NUM_NULL, NUM_POISONED = 24, 12


def _gate(root: Path) -> Gate:
    return Gate(root, plan_sha256=lambda: "", detectors_sha256=lambda: "")


def _rows(folder: Path) -> None:
    """24 null models of 0.20 to 0.43; poisoned ones far above but for the third of each four, whose ASR is
    weak; every second one's target is the first suspect."""
    for number in range(NUM_NULL):
        one = of_plan("calibration", number)
        append(model_row(one), folder)
        append(scan_row(one, {"value": 0.2 + number / 100, "sent": 0.1 + number % 5 / 100}), folder)
    for number in range(NUM_POISONED):
        one = of_plan("development", number)
        is_weak = number % 4 == 2
        append(model_row(one, asr=0.6 if is_weak else 0.97), folder)
        suspects = [*one.targets, "red one"] if number % 2 else ["red one", *one.targets]
        values = {"value": 0.25 if is_weak else 0.9, "sent": 0.12}
        append(scan_row(one, values, targets=suspects), folder)


def test_models_are_judged_by_the_null_of_their_bed_and_null_models_by_the_others(
    tmp_path: Path,
) -> None:
    _rows(tmp_path)
    rows = Rows(tmp_path, _gate(tmp_path))
    judged = {one.name: one for one in judge_all(rows.models, rows.scans, "collapse")}
    assert len(judged) == NUM_NULL + NUM_POISONED
    found = judged["development-digits-resnet-001"]
    assert found.p == pytest.approx(1 / (NUM_NULL + 1))
    assert (found.family, found.asr, found.place) == ("blended", 0.97, 1)
    assert judged["development-digits-resnet-000"].place == 2
    assert judged["development-digits-resnet-002"].p > 0.3
    nulls = [one for one in judged.values() if one.split == "calibration"]
    assert all(one.p >= 1 / NUM_NULL for one in nulls)
    assert all(one.place is None for one in nulls)


def test_a_rate_that_the_null_is_too_small_for_is_not_given_as_zero(tmp_path: Path) -> None:
    for number in range(4):
        for split in ("calibration", "development"):
            one = of_plan(split, number)  # type: ignore[arg-type]
            append(model_row(one), tmp_path)
            append(scan_row(one, {"value": number + 10.0 * (split == "development")}), tmp_path)
    made = tables(Rows(tmp_path, _gate(tmp_path)))
    assert "| collapse | development | badnet | 1 | null too small | null too small | 0.200 |" in made


def test_a_look_at_other_weights_does_not_count(tmp_path: Path) -> None:
    one = of_plan("calibration", 0)
    append(model_row(one), tmp_path)
    append(scan_row(one, {"value": 1.0}), tmp_path)
    append(model_row(one, weights="b"), tmp_path)
    assert Rows(tmp_path, _gate(tmp_path)).scans == []
    append(scan_row(one, {"value": 2.0}, weights="b"), tmp_path)
    assert [row.statistics for row in Rows(tmp_path, _gate(tmp_path)).scans] == [{"value": 2.0}]


def test_the_tables_hold_what_the_rows_say(tmp_path: Path) -> None:
    _rows(tmp_path)
    made = tables(Rows(tmp_path, _gate(tmp_path)))
    row = next(
        line for line in made.splitlines() if line.startswith("| **collapse** | development | digits-resnet")
    )
    # Nine of twelve work; weak ones have a row of their own, not this one.
    assert "| 24 | 9 | 1.000 | no overlap | no overlap | 67 % (30 to 93) | 100 % (66 to 100) |" in row
    assert "| collapse | development | stripes | 0 |" in made
    assert "| collapse | development | 50 to 90 % | 3 | 0 % (0 to 71)" in made
    # What was not measured is said, section by section.
    assert "**Not measured yet.** The clean test models are closed" in made
    assert made.count("**Not measured yet.**") == 8
    assert "| calibration-digits-resnet-003 | clean | 0.130 | 0.230 |" in made
    assert "| collapse | 19 | 0.050 | 100 % | 100 % | not measured yet | not measured yet |" in made
    assert "| collapse | 9 | 0.100 | 0, by arithmetic | 100 % | 0, by arithmetic | not measured yet |" in made
    assert "| collapse | digits-resnet | 1,000 | 2.0 | 500 |" in made


@pytest.mark.parametrize("split", ["test_clean", "second_held_out", "shifted", "attackers", "plain"])
def test_no_table_is_made_with_a_row_of_a_closed_split(tmp_path: Path, split: Split) -> None:
    _rows(tmp_path)
    append(model_row(of_plan(split, 0)), tmp_path)
    with pytest.raises(HeldOut):
        Rows(tmp_path, _gate(tmp_path))


def test_tables_replace_what_is_between_their_marks_and_nothing_else() -> None:
    page = f"before\n{figures.BEGIN}\nold\n{figures.END}\nafter\n"
    first = with_tables(page, "new \\1")
    assert first == f"before\n{figures.BEGIN}\n\nnew \\1\n\n{figures.END}\nafter\n"
    assert with_tables(first, "new \\1") == first
    with pytest.raises(ValueError, match="has no"):
        with_tables("no marks", "new")


def test_the_published_page_has_the_tables_of_the_published_rows() -> None:
    page = figures.PAGE.read_text(encoding="utf-8")
    rows = Rows(figures.ROOT / "docs" / "scanning", figures.gate_of(figures.ROOT))
    assert with_tables(page, tables(rows)) == page
