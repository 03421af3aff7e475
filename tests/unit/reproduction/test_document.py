"""The document says what the cells gave and nothing else: figures made up here come out as they went in."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from reproduction import document, grid, measured
from reproduction.cells import NUM_TEST, Cell, Cleaning, Control, Subject, cell_id, spec, subject_of
from reproduction.grid import in_order, questions
from reproduction.measured import Measured, Shares, packed, unpacked
from reproduction.running import Folders
from reproduction.summary import Results, pool
from sanitizer.audits.statistics import newcombe, wilson

OTHERS = 2_900
"""Test pictures that are not of the target class."""
PUBLISHED = Path(__file__).resolve().parents[3] / "docs" / document.FOLDER / document.RAW


def made_up(cell: Cell, ca: int, asr: int, *, lost: int = 0) -> Measured:
    """A cell with these counts of 3,000 and of 2,900 pictures; `lost` of those right before are wrong now.

    The first `ca` pictures are those that are right.
    """
    shares = Shares(
        ca=wilson(ca, NUM_TEST),
        asr=wilson(asr, OTHERS),
        asr_top5=wilson(asr, OTHERS),
        pa=wilson(ca, NUM_TEST),
    )
    return Measured(
        id=cell_id(cell),
        spec=spec(cell),
        test=shares,
        validation=shares,
        ca_lost=None
        if isinstance(cell, Subject)
        else newcombe(both=ca, lost=lost, gained=0, neither=NUM_TEST - ca - lost),
        correct=packed([place < ca for place in range(NUM_TEST)]),
        weights_sha256="0" * 64,
        ca_by_epoch=(0.5, 0.6, 0.7, 0.8, 0.8, 0.8) if isinstance(cell, Subject) else (),
        wall_s=36.0,
        made_with={"code_sha256": "c" * 64},
    )


def whole(asr_after: Callable[[Cell], int] = lambda _: 29) -> list[Measured]:
    """Every cell of the grid: 90 % CA, 99 % ASR before, and `asr_after` of 2,900 after."""
    return [
        made_up(cell, 2_700, 2_871)
        if isinstance(cell, Subject)
        else made_up(cell, 2_640, asr_after(cell), lost=60)
        for cell in in_order(questions())
    ]


def line_of(text: str, start: str) -> str:
    (found,) = (line for line in text.splitlines() if line.startswith(start))
    return found


def test_a_row_holds_the_counts_of_all_seeds_and_the_range_between_them(tmp_path: Path) -> None:
    runs = whole(lambda cell: 29 * min(3, subject_of(cell).seed))  # 1, 2 and 3 %
    document.write_all(in_order(questions()), runs, tmp_path)
    text = (tmp_path / document.DOCUMENT).read_text(encoding="utf-8")
    section = text[text.index("### digits, resnet") : text.index("### fashion_mnist, resnet")]
    row = line_of(section, "| BadNet: CleanCLIP (1, 1)")
    pooled = pool([wilson(29 * seed, OTHERS) for seed in (1, 2, 3)])
    assert pooled is not None
    low, high = 100 * wilson(29 * 6, 3 * OTHERS).low, 100 * wilson(29 * 6, 3 * OTHERS).high
    assert f"2.0 [{low:.1f}, {high:.1f}] (1.0–3.0)" in row
    assert "| 3 | 9,000 |" in row
    assert "2.0 [" in row.split("|")[5]  # CA lost, points


def test_an_attack_under_the_gate_is_called_not_implanted_and_no_defence_is_judged() -> None:
    weak = grid.PAPER_ATTACKS["WaNet"]
    runs = [
        made_up(cell, 2_700, 1_000) if isinstance(cell, Subject) and cell.options.attack == weak else run
        for cell, run in zip(in_order(questions()), whole(), strict=True)
    ]
    text = document.document(Results(runs), len(runs), [])
    section = text[text.index("### digits, resnet") : text.index("### fashion_mnist, resnet")]
    assert "| WaNet: **not implanted**" in section
    assert "WaNet: CleanCLIP" not in section
    assert f"WaNet was not implanted here. Tried: {grid.TRIED['WaNet']}." in section
    assert "Label-consistent was not implanted" not in section
    assert "WaNet was not implanted" in text[text.index("## The paper's claims") :]


def test_claims_follow_the_figures() -> None:
    def claim(text: str, start: str) -> str:
        return line_of(text[text.index("## The paper's claims") :], f"**{start}")

    removed = document.document(Results(whole(lambda _: 29)), 1, [])
    left = document.document(Results(whole(lambda _: 2_000)), 1, [])
    assert "at most 5 %" in claim(removed, "CleanCLIP brings down")
    assert "more than 5 %" in claim(left, "CleanCLIP brings down")
    assert "rises" not in claim(removed, "A larger λ2")

    def worse_at_two(cell: Cell) -> int:
        recipe = cell.recipe if isinstance(cell, Cleaning) else None
        return 290 if getattr(recipe, "lambda2", None) == 2.0 else 29

    assert "rises from λ2 = 1 → 2" in claim(
        document.document(Results(whole(worse_at_two)), 1, []), "A larger λ2"
    )


def test_what_was_not_run_is_said_to_be_so_and_never_made_up() -> None:
    text = document.document(Results([]), 467, [])
    assert "0 cells were run" in text
    assert "467 are still to be run" in text
    assert not re.search(r"\d\.\d \[", text)
    assert text.count("Not run yet.") >= 6


def test_the_raw_file_alone_gives_the_same_document(tmp_path: Path) -> None:
    cells, runs = in_order(questions()), whole()
    document.write_all(cells, runs, tmp_path)
    raw = tmp_path / document.FOLDER / document.RAW
    again = document.gather(cells, tmp_path / "nothing", raw)
    assert again == runs
    document.write_all(cells, again, tmp_path / "again")
    for path in sorted(tmp_path.glob("reproduction*")) + sorted((tmp_path / document.FOLDER).iterdir()):
        if path.is_file():
            same = tmp_path / "again" / path.relative_to(tmp_path)
            assert same.read_bytes() == path.read_bytes()
    names = {path.name for path in (tmp_path / document.FOLDER).iterdir()}
    assert names == {"lambda.svg", "front.svg", "pairs.svg", "clean-set.svg", document.RAW}


def test_a_control_is_told_apart_from_an_attack() -> None:
    cells = [cell for cell in in_order(questions()) if isinstance(cell, Control)]
    runs = [made_up(cell, 2_700, 1_450) for cell in cells]
    text = document.document(Results(runs), 1, [])
    assert "50.0 [" in line_of(text, "| clean model, the patch as trigger")


def test_a_line_of_raw_data_reads_back_as_it_was() -> None:
    run = whole()[3]
    assert measured.read(measured.to_line(run)) == run


@pytest.mark.parametrize("shares", [[], [wilson(0, 10)]])
def test_pooling_adds_counts(shares: list[object]) -> None:
    pooled = pool(shares)  # type: ignore[arg-type]
    assert (pooled is None) == (not shares)


def test_what_was_published_stays_where_a_model_was_trained_again_for_what_starts_from_it(
    tmp_path: Path,
) -> None:
    cells = in_order(questions())
    first, second, third = cells[:3]
    published, again = made_up(first, 2_800, 2_890), made_up(first, 2_790, 2_880)
    of_published, of_again = made_up(second, 2_750, 29, lost=50), made_up(third, 2_700, 29, lost=90)
    document.write_all(cells, [published], tmp_path)
    for cell, run in ((first, again), (second, of_published), (third, of_again)):
        folder = Folders(tmp_path / "runs").of(cell)
        folder.mkdir(parents=True)
        measured.write(run, folder)
    raw = tmp_path / document.FOLDER / document.RAW
    said: list[str] = []
    assert document.gather(cells, tmp_path / "runs", raw, say=said.append) == [published, of_published]
    (line,) = said
    assert line.startswith(f"left out: {of_again.id}")
    assert line.endswith("90 pictures were lost and 0 gained; from this model it would be 100 and 0")


def test_a_cleaning_that_names_the_weights_it_started_from_must_name_those_of_the_published_model() -> None:
    first, second = in_order(questions())[:2]
    before = made_up(first, 2_800, 2_890)
    after = made_up(second, 2_750, 29, lost=50)
    assert measured.contradiction(before, after) is None
    assert measured.contradiction(before, replace(after, from_weights_sha256=before.weights_sha256)) is None
    other = measured.contradiction(before, replace(after, from_weights_sha256="f" * 64))
    assert other is not None
    assert other.startswith("started from the weights ffff")


def test_every_published_cleaning_started_from_the_published_model(tmp_path: Path) -> None:
    """Two models were once trained again and published beside cleanings of the first ones."""
    said: list[str] = []
    runs = document.gather(in_order(questions()), tmp_path, PUBLISHED, say=said.append)
    assert said == []
    assert [run.id for run in runs] == [run.id for run in document.read_raw(PUBLISHED)]
    by_id = {run.id: run for run in runs}
    for run in runs:
        assert sum(run.is_right) == run.test.ca.successes
        if run.ca_lost is not None:
            before = by_id[cell_id_of_subject(run)]
            net = run.ca_lost.lost - run.ca_lost.gained
            assert before.test.ca.successes - run.test.ca.successes == net


def cell_id_of_subject(run: Measured) -> str:
    (cell,) = (cell for cell in in_order(questions()) if cell_id(cell) == run.id)
    return cell_id(subject_of(cell))


def test_a_published_line_comes_out_as_it_went_in() -> None:
    for line in PUBLISHED.read_text(encoding="utf-8").splitlines():
        assert measured.to_line(measured.read(line)) == line


def test_bits_are_unpacked_to_what_was_packed_and_too_few_are_refused() -> None:
    correct = [True, False, True, True, False, False, False, True, True]
    assert unpacked(packed(correct), 9) == correct
    with pytest.raises(ValueError, match="16 bits for 17 pictures"):
        unpacked(packed(correct), 17)
