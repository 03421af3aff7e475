"""Raw data: a line a cell, read back as written; a cleaning stands beside the model it started from."""

from dataclasses import replace
from pathlib import Path

import pytest

from lab.reproduction import document, grid, measured
from lab.reproduction.cells import Cleaning, cell_id, subject_of
from lab.reproduction.grid import in_order, questions
from lab.reproduction.measured import packed, unpacked
from lab.reproduction.running import Folders
from lab.testbed.options import OptimisedPattern
from tests.unit.reproduction.made_up import made_up, whole

PUBLISHED = Path(__file__).resolve().parents[3] / "docs" / document.FOLDER / document.RAW


@pytest.mark.full  # daily: test_the_published_tables_are_those_of_the_published_rows
def test_the_raw_file_alone_gives_the_same_document(tmp_path: Path) -> None:
    cells, runs = in_order(questions()), whole()
    document.write_all(cells, runs, tmp_path)
    raw = tmp_path / document.FOLDER / document.RAW
    again = document.gather(cells, tmp_path / "nothing", raw)
    assert again == runs
    document.write_all(cells, again, tmp_path / "again")
    for path in (tmp_path / document.FOLDER).iterdir():
        assert (tmp_path / "again" / document.FOLDER / path.name).read_bytes() == path.read_bytes()
    names = {path.name for path in (tmp_path / document.FOLDER).iterdir()}
    assert names == {"lambda.svg", "front.svg", "pairs.svg", "clean-set.svg", document.RAW, document.DOCUMENT}


def test_a_line_of_raw_data_reads_back_as_it_was() -> None:
    run = whole()[3]
    assert measured.read(measured.to_line(run)) == run


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
    assert "90 images were lost and 0 gained" in line
    assert line.endswith("100 and 0")


def test_a_cleaning_that_names_the_weights_it_started_from_must_name_those_of_the_published_model() -> None:
    first, second = in_order(questions())[:2]
    before = made_up(first, 2_800, 2_890)
    after = made_up(second, 2_750, 29, lost=50)
    assert measured.contradiction(before, after) is None
    assert measured.contradiction(before, replace(after, from_weights_sha256=before.weights_sha256)) is None
    other = measured.contradiction(before, replace(after, from_weights_sha256="f" * 64))
    assert other is not None
    assert other.startswith("started from the weights ffff")


def test_what_was_measured_with_another_pattern_than_its_subject_is_left_out(tmp_path: Path) -> None:
    subject = grid.subject(OptimisedPattern(), 1)
    cells = (subject, Cleaning(subject=subject, recipe=grid.CLEANCLIP), grid.adaptive_control(1))
    runs = [made_up(cell, 2_800, 2_000) for cell in cells]
    runs = [replace(run, picture="one") for run in runs[:2]] + [replace(runs[2], picture="other")]
    document.write_all(cells, runs, tmp_path)
    said: list[str] = []
    raw = tmp_path / document.FOLDER / document.RAW
    assert document.gather(cells, tmp_path / "none", raw, say=said.append) == runs[:2]
    (line,) = said
    assert line.endswith("was measured with another pattern than the subject of its seed")


def test_every_published_cleaning_started_from_the_published_model(tmp_path: Path) -> None:
    """Two models were once trained again and published beside cleanings of the first ones."""
    said: list[str] = []
    cells = {cell_id(cell): cell for cell in in_order(questions())}
    runs = document.gather(list(cells.values()), tmp_path, PUBLISHED, say=said.append)
    assert said == []
    assert [run.id for run in runs] == [run.id for run in document.read_raw(PUBLISHED)]
    by_id = {run.id: run for run in runs}
    for run in runs:
        assert sum(run.is_right) == run.test.ca.successes
        if run.ca_lost is not None:
            before = by_id[cell_id(subject_of(cells[run.id]))]
            net = run.ca_lost.lost - run.ca_lost.gained
            assert before.test.ca.successes - run.test.ca.successes == net


def test_the_published_tables_are_those_of_the_published_rows(tmp_path: Path) -> None:
    cells = in_order(questions())
    document.write_all(cells, document.gather(cells, tmp_path, PUBLISHED), tmp_path)
    written = tmp_path / document.FOLDER
    for name in (document.DOCUMENT, document.RAW):
        assert (PUBLISHED.parent / name).read_bytes() == (written / name).read_bytes(), "run make reproduce"


def test_a_published_line_comes_out_as_it_went_in() -> None:
    for line in PUBLISHED.read_text(encoding="utf-8").splitlines():
        assert measured.to_line(measured.read(line)) == line


def test_bits_are_unpacked_to_what_was_packed_and_too_few_are_refused() -> None:
    correct = [True, False, True, True, False, False, False, True, True]
    assert unpacked(packed(correct), 9) == correct
    with pytest.raises(ValueError, match="16 bits for 17 images"):
        unpacked(packed(correct), 17)
