"""Tables of UAR's final evaluation: made rows against plain sums, and Wilson's interval by its formula."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from cleanclip.spec.recipe import to_json
from lab.freezing import HeldOut
from lab.reproduction import beyond, cost, developing, document, final, fronts, grid, groups
from lab.reproduction.attackers import ATTACKERS
from lab.reproduction.beyond import CORRUPTIONS, Beyond
from lab.reproduction.cells import Cell, Cleaning, Subject, cell_id, describe, subject_of
from lab.reproduction.clustering import Effects
from lab.reproduction.final import CANDIDATE
from lab.reproduction.final_rows import BEYOND_RAW, RAW, REBOUND_RAW, FinalRows, read_final
from lab.reproduction.final_tables import aims_table, attackers_table, beyond_table, sections
from lab.reproduction.freezing import ROOT
from lab.reproduction.grid import in_order, questions
from lab.reproduction.measured import Measured, to_line
from lab.reproduction.opening import gate_of
from lab.reproduction.rebound import REBOUND, missing, planned
from sanitizer.audits.statistics import newcombe, wilson
from tests.unit.reproduction.made_up import OTHERS, line_of, made_up, section_of, whole

UAR = CANDIDATE["resnet"]


def plain(successes: int, n: int, digits: int = 1) -> str:
    """A percentage with Wilson's 95 % interval, by the formula."""
    z, share = 1.959963984540054, successes / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return f"{100 * share:.{digits}f} [{100 * (middle - half):.1f}, {100 * (middle + half):.1f}]"


def made_final(cell: Cell) -> Measured:
    """Of UAR 3, 6 and 9 of 2,900 by the seed, and 30 of 3,000 images lost; of a model as it came 99 % ASR."""
    if isinstance(cell, Subject):
        return made_up(cell, 2_700, 2_871)
    return made_up(cell, 2_670, 3 * subject_of(cell).seed, lost=30)


def final_rows() -> FinalRows:
    published = {cell_id(cell) for cell in in_order(questions())}
    cells = [cell for cell in in_order(final.questions()) if cell_id(cell) not in published]
    return FinalRows(runs=tuple(map(made_final, cells)))


def page(rows: FinalRows) -> str:
    return document.document(whole(), 0, [], Effects(), rows)


@pytest.fixture(scope="module")
def text() -> str:
    return page(final_rows())


UAR_ROWS = (
    "| BadNet: UAR",
    "| 1,000 clean pairs: UAR",
    "| 3 poisons in 8,000 clean pairs: UAR",
    "| 72 poisons of 24,000 pairs: UAR",
    "| Adaptive pattern: UAR",
    "| Semantic (colour of the paper): UAR",
    "| CLIP and SSL: UAR",
    "| BadNet, ResNet: no inversion",
    "| Blended, ViT: labelled images",
    "| Blended, ViT: 500 pairs",
)


@pytest.mark.parametrize("start", UAR_ROWS)
def test_a_row_pools_the_counts_of_its_seeds(text: str, start: str) -> None:
    row = next(line for line in text.splitlines() if line.startswith(start)).split(" | ")
    assert row[1:4] == ["1, 2, 3", "9,000", f"{plain(3 * 2_670, 9_000)} (89.0–89.0)"]
    assert row[5] == f"{3 * OTHERS:,}"
    assert row[7] == f"{plain(3 + 6 + 9, 3 * OTHERS)} (0.1–0.3)"
    lost = newcombe(both=9_000 - 900 - 90, lost=90, gained=0, neither=900)
    assert row[4].startswith(f"{100 * 90 / 9_000:.1f} [") or row[4].startswith(f"{100 * lost.value:.1f} [")


def test_every_table_with_cleanclips_recipe_has_a_row_of_uar(text: str) -> None:
    tables = section_of(text, "## The paper's table", "## UAR against the others")
    for section in tables.split("### ")[1:]:
        name = section.splitlines()[0]
        if name in ("λ2", "Learning rate by epochs"):  # of CleanCLIP's own options
            continue
        assert ": UAR | 1, 2, 3 |" in section, name


def test_without_rows_the_page_says_so_and_no_figure_of_uar_stands_in_it() -> None:
    empty = page(FinalRows())
    assert "**Nothing of the final evaluation was run yet.**" in empty
    for line in empty.splitlines():
        if ": UAR |" in line:
            assert "not measured yet" in line
    for title in ("Attacks by someone", "UAR with one thing", "Number of images", "Beyond zero-shot"):
        section = empty[empty.index(f"### {title}") :]
        assert section.split("\n\n")[1].strip() == "Not measured yet."


def test_beside_what_was_changed_uar_has_the_same_seeds() -> None:
    """Runs of other seeds are of other models."""
    first_alone = {cell_id(make(seed)) for make in final.fewer_images(CANDIDATE).values() for seed in (2, 3)}
    rows = FinalRows(runs=tuple(run for run in final_rows().runs if run.id not in first_alone))
    table = section_of(page(rows), "### Number of images", "### Remedies").splitlines()
    assert sum(line.startswith("| BadNet, ResNet: UAR | 1 | 3,000 |") for line in table) == 1
    assert sum(": UAR | 1, 2, 3 |" in line for line in table) == 0


def test_the_front_has_the_worst_family_and_the_most_accuracy_lost() -> None:
    worse = grid.STRUCTURED_ATTACKS["Text"]
    rows = final_rows()
    runs = [
        made_up(cell, 2_500, 290, lost=200)
        if isinstance(cell, Cleaning) and cell.recipe == UAR and cell.subject.options.attack == worse
        else made_final(cell)
        for cell in in_order(final.questions())
        if cell_id(cell) in {run.id for run in rows.runs}
    ]
    table = fronts.front_table(document.joined(whole(), FinalRows(runs=tuple(runs))))
    row = line_of(table, "| digits, resnet: UAR").split(" | ")
    assert row[1:4] == ["1, 2, 3", "9 of 9", "Text"]
    assert row[5].startswith(plain(870, 3 * OTHERS))
    assert row[6] == "Text"
    assert row[8].startswith("6.7 [")
    assert "| 3 of 7 |" in line_of(table, "| fashion_mnist, vit: PAR")
    assert "not measured yet" in line_of(
        fronts.front_table(document.joined([], FinalRows())), "| digits, resnet: PAR"
    )


def test_the_picture_names_every_method_and_has_a_dot_for_each_place(tmp_path: Path) -> None:
    def drawn(rows: FinalRows) -> str:
        fronts.draw(document.joined(whole(), rows), tmp_path / fronts.NAME)
        return (tmp_path / fronts.NAME).read_text(encoding="utf-8")

    without, with_rows = drawn(FinalRows()), drawn(final_rows())
    assert "UAR (not measured yet)" in without
    assert "not measured yet" not in with_rows
    assert "CleanCLIP (1, 1)" in with_rows
    assert with_rows.count("<use ") > without.count("<use ")
    assert drawn(final_rows()) == with_rows


def test_an_aim_is_met_by_the_bounds() -> None:
    table = aims_table(document.joined(whole(), final_rows()))
    assert line_of(table, "| digits, resnet: BadNet").endswith("| 1.00 | missed: CA lost |")
    good = [
        made_up(cell, 2_699, 3, lost=1) if isinstance(cell, Cleaning) else made_final(cell)
        for cell in in_order(final.questions())
    ]
    met = line_of(aims_table(document.joined([], FinalRows(runs=tuple(good)))), "| digits, resnet: BadNet")
    assert met.endswith("| met |")
    assert "not measured yet" in line_of(
        aims_table(document.joined([], FinalRows())), "| digits, resnet: BadNet"
    )


def test_uar_stands_beside_its_own_models_and_the_other_rows_beside_the_published_ones() -> None:
    poisoned = groups.subject(grid.PAPER_ATTACKS["BadNet"])
    make, subject = groups.cleaned(poisoned, grid.CLEANCLIP), poisoned(1)
    uar = final.with_uar(make(1), CANDIDATE)
    assert uar is not None
    published = [made_up(subject, 2_700, 29), made_up(make(1), 2_650, 29)]
    again = [made_up(subject, 2_600, 2_320), made_up(uar, 2_590, 3, lost=10)]
    results = document.joined(published, FinalRows(runs=tuple(again)))
    assert results.over_seeds(make).not_implanted == (1,), "published with an ASR of 1 %"
    group = results.uar(make)
    assert (group.seeds, group.not_implanted) == ((1,), ()), "its own model has one of 80 %"
    assert results.of(subject) == published[0]
    row = line_of(aims_table(results), "| digits, resnet: BadNet").split(" | ")
    assert row[3] == plain(2_320, OTHERS)
    never = [made_up(subject, 2_600, 29), again[1]]
    assert (
        document.joined([made_up(subject, 2_700, 2_871)], FinalRows(runs=tuple(never))).uar(make).runs == ()
    )


def past(cell: Cell, successes: int) -> Beyond:
    share = wilson(successes, 1_000)
    return Beyond(
        id=cell_id(cell),
        cell=describe(cell),
        ca=share,
        probe_accuracy=share,
        probe_asr=None if subject_of(cell).options.attack is None else wilson(successes, 900),
        image_to_text={1: wilson(successes, 1_000)},
        text_to_image={1: wilson(successes // 2, 555)},
        corrupted_ca=dict.fromkeys(CORRUPTIONS, share),
        made_with={},
    )


def test_what_is_beyond_zero_shot_is_pooled_too() -> None:
    make = final.beyond_zero_shot(CANDIDATE)["Blended, ViT: UAR"]
    table = beyond_table(FinalRows(beyond=tuple(past(make(seed), 100 * seed) for seed in (1, 2))))
    row = line_of(table, "| Blended, ViT: UAR").split(" | ")
    assert row[1:3] == ["1, 2", f"{plain(300, 2_000)} (10.0–20.0), n 2,000"]
    assert row[4] == f"{plain(300, 1_800)} (11.1–22.2), n 1,800"
    assert row[6].startswith(plain(150, 1_110))
    assert len(row) == 7 + len(CORRUPTIONS)
    assert "not measured yet" in line_of(table, "| Blended, ViT: PAR")


def test_attackers_rows_stand_with_their_intervals() -> None:
    bare = developing._bare_row(ATTACKERS[0], None)
    figures = developing.Figures(
        ca=wilson(1_700, 3_000), asr={"badnet": wilson(29, OTHERS)}, pa={"badnet": wilson(10, 3_000)}
    )
    table = attackers_table(FinalRows(attackers=(replace(bare, test=figures),)))
    assert "| few-poisons | before | 56.7 (" in table
    assert plain(29, OTHERS).replace("[", "(").replace(", ", " to ").replace("]", ")") in table
    assert "3,000 test images" in table
    assert table.endswith("(ASR under 50 % before), so these judge nothing: few-poisons.\n")


def test_rows_of_a_held_out_run_are_not_read_before_the_freeze(tmp_path: Path) -> None:
    gate = gate_of(tmp_path)
    assert read_final(tmp_path, gate) == FinalRows()
    uar = next(run for run in final_rows().runs if (run.spec.get("recipe") or {}).get("method") == "uar")
    (tmp_path / RAW).write_text(to_line(uar) + "\n")
    with pytest.raises(HeldOut):
        read_final(tmp_path, gate)
    (tmp_path / RAW).unlink()
    cell = grid.subject(None, 1, grid.FASHION)
    beyond.ROWS.append(tmp_path / BEYOND_RAW, past(cell, 5))
    with pytest.raises(HeldOut):
        read_final(tmp_path, gate)
    (tmp_path / BEYOND_RAW).unlink()
    line = {"method": "uar", "seed": 1001, "recipe": {"learning_rate": 5e-4}, "options": to_json(REBOUND)}
    (tmp_path / REBOUND_RAW).write_text(json.dumps({"subject": "poisoned"} | line) + "\n")
    assert len(read_final(tmp_path, gate).rebound) == 1, "of the demo"
    line["subject"] = "Blended, ViT"
    (tmp_path / REBOUND_RAW).write_text(json.dumps(line) + "\n")
    assert ("Blended, ViT", "uar", 1, False) not in missing([line])
    assert ("Blended, ViT", "uar", 1, True) in missing([line])
    assert len(missing([line])) == len(planned()) - 1
    with pytest.raises(HeldOut):
        read_final(tmp_path, gate)


def test_the_published_rebound_has_a_row_for_each_run() -> None:
    found = page(read_final(ROOT / "docs" / document.FOLDER, gate_of()))
    row = line_of(section_of(found, "### Rebound", "### Beyond"), "| poisoned: cleanclip").split(" | ")
    assert row[1] == "1"
    assert row[6:8] == ["987", plain(2, 987)]
    assert row[8] == "50"


def test_the_published_page_has_the_sections_that_its_rows_make() -> None:
    folder = ROOT / "docs" / document.FOLDER
    rows = read_final(folder, gate_of())
    results = document.joined(document.read_raw(folder / document.RAW), rows)
    text = (ROOT / "docs" / document.DOCUMENT).read_text(encoding="utf-8")
    for section in sections(results, rows, document.FOLDER):
        assert section.strip() in text, section.splitlines()[0]


def test_costs_are_compared_within_their_round() -> None:
    lines = [
        {"model": "m", "cpu_s": {"cleanclip": slow * 10.0, "uar": slow * 9.0, "par": slow * 8.0}}
        for slow in (1, 2, 4)
    ]
    table = cost.table(lines)
    assert "| m | uar | 3 | 18 (9 to 36) | 0.90 (0.90 to 0.90) |" in table
    assert "| m | cleanclip | 3 | 20 (10 to 40) | 1.00 (1.00 to 1.00) |" in table
    assert cost.table([]) == "Not measured yet."
