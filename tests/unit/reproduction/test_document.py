"""The document says what the cells gave and nothing else: figures made up here come out as they went in."""

import re
from pathlib import Path

import pytest

from lab.reproduction import document, grid
from lab.reproduction.cells import Control, Subject, subject_of
from lab.reproduction.grid import in_order, questions, quick
from lab.reproduction.summary import pool
from sanitizer.audits.statistics import wilson
from tests.unit.reproduction.made_up import OTHERS, line_of, made_up, section_of, text_of, whole


def test_a_row_holds_the_counts_of_all_seeds_and_the_range_between_them(tmp_path: Path) -> None:
    runs = whole(lambda cell: 29 * min(3, subject_of(cell).seed))  # 1, 2 and 3 %
    document.write_all(in_order(questions()), runs, tmp_path)
    text = (tmp_path / document.FOLDER / document.DOCUMENT).read_text(encoding="utf-8")
    section = text[text.index("### digits, resnet") : text.index("### fashion_mnist, resnet")]
    row = line_of(section, "| BadNet: CleanCLIP (1, 1)")
    pooled = pool([wilson(29 * seed, OTHERS) for seed in (1, 2, 3)])
    assert pooled is not None
    low, high = 100 * wilson(29 * 6, 3 * OTHERS).low, 100 * wilson(29 * 6, 3 * OTHERS).high
    assert f"2.0 [{low:.1f}, {high:.1f}] (1.0–3.0)" in row
    assert "| 1, 2, 3 | 9,000 |" in row
    assert row.split("|")[6] == " 8,700 "  # ASR leaves out pictures of the target class
    assert row.split("|")[7].startswith(" 0.3 [")  # the floor: 10 of 2,900
    assert row.split("|")[8].startswith(" 2.0 [")
    assert "2.0 [" in row.split("|")[5]  # CA lost, points


def test_an_attack_under_the_gate_is_called_inconclusive_and_no_defence_is_judged() -> None:
    weak = grid.PAPER_ATTACKS["WaNet (s = 6)"]
    runs = [
        made_up(cell, 2_700, 1_000) if isinstance(cell, Subject) and cell.options.attack == weak else run
        for cell, run in zip(in_order(questions()), whole(), strict=True)
    ]
    text = text_of(runs)
    section = text[text.index("### digits, resnet") : text.index("### fashion_mnist, resnet")]
    assert "| WaNet (s = 6): **not implanted**" in section
    assert "WaNet (s = 6): CleanCLIP" not in section
    assert "Label-consistent was not implanted" not in section
    assert "WaNet (s = 6) was not implanted here" in section


def test_what_was_not_run_is_said_to_be_so_and_never_made_up() -> None:
    text = document.document([], 467, [])
    assert "0 cells were run" in text
    assert "467 are still to be run" in text
    assert not re.search(r"\d\.\d \[", text)
    assert text.count("| – | not measured yet |") > 50


def test_the_small_subset_has_a_page_of_its_own_with_the_same_legend(tmp_path: Path) -> None:
    subject, *cleaned = quick()
    runs = [made_up(subject, 2_700, 2_871), *(made_up(cell, 2_640, 29, lost=60) for cell in cleaned)]
    document.write_quick(quick(), runs, tmp_path)
    text = (tmp_path / document.DOCUMENT).read_text(encoding="utf-8")
    for defence in ("CleanCLIP (1, 1)", "UAR"):
        assert "| 1 | 3,000 | 88.0 [" in line_of(text, f"| BadNet: {defence}")
    assert "over 3,000 test images per seed" in text
    assert len(document.read_raw(tmp_path / document.RAW)) == 6


def test_a_control_is_told_apart_from_an_attack() -> None:
    cells = [cell for cell in in_order(questions()) if isinstance(cell, Control)]
    runs = [made_up(cell, 2_700, 1_450) for cell in cells]
    text = text_of(runs)
    for how in ("no defence", "CleanCLIP (1, 1)", "PAR"):
        row = line_of(text, f"| Adaptive pattern on a model that was never poisoned: {how}")
        assert "50.0 [" in row
        assert row.split("|")[5].strip() == "", "nobody changed the model: it lost nothing"


def test_before_and_after_are_of_the_same_seeds() -> None:
    """A defence that was run with one seed is not held against the models of all three."""
    badnet, mmcl = grid.PAPER_ATTACKS["BadNet"], grid.DEFENCES["MMCL only (λ2 = 0)"]
    runs = []
    for cell in in_order(questions()):
        seed = subject_of(cell).seed
        if isinstance(cell, Subject):  # ASR 90, 60 and 60 %
            runs.append(made_up(cell, 2_700, 2_610 if seed == 1 else 1_740))
        elif cell.subject.options.attack != badnet or seed == 1 or getattr(cell, "recipe", None) == mmcl:
            runs.append(made_up(cell, 2_640, 29, lost=60))
    text = text_of(runs)
    section = section_of(text, "### digits, resnet", "### fashion_mnist, resnet")
    rows = [line for line in section.splitlines() if line.startswith("| BadNet: ")]
    starts = [(row.split("|")[1].strip(), row.split("|")[2].strip(), row.split("|")[8][:5]) for row in rows]
    assert starts[:4] == [
        ("BadNet: no defence", "1, 2, 3", " 70.0"),
        ("BadNet: MMCL only (λ2 = 0)", "1, 2, 3", " 1.0 "),
        ("BadNet: no defence, seed 1 alone", "1", " 90.0"),
        ("BadNet: Self-supervised only (λ1 = 0)", "1", " 1.0 "),
    ]


def test_the_gate_is_per_seed_and_seeds_that_were_inconclusive_are_named() -> None:
    """Two of three are implanted: the pooled ASR of 66 % speaks of no model, and the third is not judged."""
    stripes = grid.STRUCTURED_ATTACKS["Stripes (fixed patch)"]
    blended = grid.PAPER_ATTACKS["Blended"]
    runs = [
        made_up(cell, 2_700, 0)
        if isinstance(cell, Subject) and cell.options.attack in (stripes, blended) and cell.seed == 2
        else run
        for cell, run in zip(in_order(questions()), whole(), strict=True)
    ]
    text = text_of(runs)
    failures = section_of(text, "### Structured triggers, ResNet", "### Structured triggers, ViT")
    assert "| 2 | 3,000 |" in line_of(failures, "| Stripes (fixed patch): **not implanted**")
    assert "| 1, 3 | 6,000 |" in line_of(failures, "| Stripes (fixed patch): no defence")
    assert "| 1, 3 (not implanted: 2) | 6,000 |" in line_of(failures, "| Stripes (fixed patch): PAR")
    assert "| 1, 3 (not implanted: 2) | 6,000 |" in line_of(text, "| Blended, λ2 = 4 ")
    assert "Stripes (fixed patch) was not implanted here with seed 2" in failures


def test_rows_of_an_attack_that_was_inconclusive_are_not_told_as_still_to_be_run() -> None:
    weak = grid.PAPER_ATTACKS["Label-consistent"]
    subjects = [made_up(c, 2_700, 12) for c in in_order(questions()) if c == grid.subject(weak, 1)]
    text = text_of(subjects)
    for weight in grid.BY_LAMBDA:
        assert "| – | not implanted |" in line_of(text, f"| Label-consistent, λ2 = {weight:g} ")
        assert "| – | not measured yet |" in line_of(text, f"| Blended, λ2 = {weight:g} ")


@pytest.mark.parametrize("shares", [[], [wilson(0, 10)]])
def test_pooling_adds_counts(shares: list[object]) -> None:
    pooled = pool(shares)  # type: ignore[arg-type]
    assert (pooled is None) == (not shares)
