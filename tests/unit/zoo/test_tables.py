"""Judgements and tables, from made-up rows whose figures are known, and from the published rows."""

from dataclasses import replace
from pathlib import Path

import pytest

from lab.zoo.judging import judge_all
from lab.zoo.rows import append, read_models, read_scans
from lab.zoo.tables import Rows, rate_at, tables
from tests.unit.zoo.made_up import model_row, of_plan, scan_row

DOCS = Path(__file__).resolve().parents[3] / "docs"
BEGINNING = "| scan | second_held_out | pooled |"
NUM_NULL, NUM_POISONED = 24, 12


def _rows(folder: Path) -> None:
    """24 null models of 0.20 to 0.43; poisoned ones far above but for the third of each four, whose ASR is
    weak; every second one's target is that of the more conspicuous family."""
    other = "brown nine", "white nine"
    for number in range(NUM_NULL):
        one = of_plan("calibration", number)
        append(model_row(one), folder)
        look = scan_row(one, patch=0.2 + number / 100, blend=0.1 + number % 5 / 100, towards=other)
        append(look, folder)
    for number in range(NUM_POISONED):
        one, is_weak = of_plan("development", number), number % 4 == 2
        append(model_row(one, asr=0.6 if is_weak else 0.97), folder)
        towards = (one.targets[0], other[0]) if number % 2 else (other[0], one.targets[0])
        append(scan_row(one, patch=0.25 if is_weak else 0.9, blend=0.12, towards=towards), folder)


def test_models_are_judged_by_the_null_of_their_bed_and_null_models_by_the_others(tmp_path: Path) -> None:
    _rows(tmp_path)
    rows = Rows(tmp_path)
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
        for split, patch in (("calibration", 0.1 + number / 100), ("development", 0.9)):
            one = of_plan(split, number)  # type: ignore[arg-type]
            append(model_row(one), tmp_path)
            append(scan_row(one, patch=patch, blend=0.1, towards=("red one", "red one")), tmp_path)
    assert "| collapse | development | badnet | 1 | null too small | null too small | 0.200 |" in tables(
        tmp_path
    )


def test_a_look_at_other_weights_does_not_count(tmp_path: Path) -> None:
    one, look = of_plan("calibration", 0), {"patch": 0.1, "blend": 0.1, "towards": ("red one", "red two")}
    append(model_row(one), tmp_path)
    append(scan_row(one, **look), tmp_path)  # type: ignore[arg-type]
    append(model_row(one, weights="b" * 64), tmp_path)
    assert Rows(tmp_path).scans == []
    append(scan_row(one, **look, weights="b" * 64), tmp_path)  # type: ignore[arg-type]
    assert [row.weights_sha256 for row in Rows(tmp_path).scans] == ["b" * 64]


def test_looks_with_different_anchors_are_not_judged_together(tmp_path: Path) -> None:
    one, other = (of_plan("calibration", number) for number in range(2))
    looks = [scan_row(each, patch=0.1, blend=0.1, towards=("red one", "red two")) for each in (one, other)]
    looks[1] = replace(looks[1], measured=replace(looks[1].measured, anchor_sha256="d" * 64))
    models = {each.name: model_row(each) for each in (one, other)}
    with pytest.raises(ValueError, match="different anchors"):
        judge_all(models, looks, "collapse")


def test_the_tables_hold_what_the_rows_say(tmp_path: Path) -> None:
    _rows(tmp_path)
    made = tables(tmp_path)
    # Nine of twelve work; weak ones have a row of their own, not this one.
    working = "| 24 | 9 | 1.000 (1.000 to 1.000) | 67 % (30 to 93) | 100 % (66 to 100) |"
    assert f"| collapse | development | digits-resnet {working}" in made
    assert "| collapse | development | stripes | 0 |" in made
    # What was not measured is said.
    assert made.count("**Not measured yet.**") == 1
    assert "| collapse | digits-resnet | 1,000 | 2.0 |" in made


def test_rows_of_studies_that_left_are_passed_over_and_a_line_that_was_cut_too(tmp_path: Path) -> None:
    _rows(tmp_path)
    models, scans = tmp_path / "models.jsonl", tmp_path / "scans.jsonl"
    before = read_models(tmp_path), read_scans(tmp_path)
    line = models.read_text().splitlines()[0]
    models.write_text(
        models.read_text() + line.replace('"split":"calibration"', '"split":"attackers"') + "\n"
    )
    line = scans.read_text().splitlines()[0]
    scans.write_text(
        scans.read_text() + line.replace('"detector":"collapse"', '"detector":"ease"') + "\n" + line[:-9]
    )
    assert (read_models(tmp_path), read_scans(tmp_path)) == before


def test_the_page_begins_with_the_figures_of_the_published_rows() -> None:
    page, rows = (DOCS / "scanning.md").read_text(encoding="utf-8"), Rows(DOCS / "scanning")
    (line,) = (one for one in tables(DOCS / "scanning").splitlines() if one.startswith(BEGINNING))
    auroc, _, in_five = (cell.strip() for cell in line.removeprefix(BEGINNING).strip(" |").split("|")[2:])
    poisoned = [one for one in rows.judged["scan"] if one.split == "second_held_out" and one.works]
    clean = [one for one in rows.judged["scan"] if one.split == "test_clean"]
    assert f"{len(poisoned)} poisoned models" in page
    assert f"against {len(clean)} clean test models" in page
    for aim, measured in (
        ("AUROC, pooled", auroc),
        ("found at a nominal 5 %", rate_at(0.05, poisoned)),
        ("false alarms at a nominal 5 %", rate_at(0.05, clean)),
        ("target among the first five suspects", in_five),
    ):
        (stated,) = (one for one in page.splitlines() if one.startswith(f"| {aim} |"))
        assert stated.split("|")[3].strip() == measured
