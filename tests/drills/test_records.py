"""What is kept of a drill, the page made of it, and how a run that was cut goes on."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lab.drills import records
from lab.drills.__main__ import find_drills, main
from lab.drills.drill import OutOfTime, Place, Row

ROW = Row(
    broken="a | b",
    times=3,
    expected="nothing",
    happened="nothing",
    ok=True,
)


def place(folder: Path, ends_at: float = float("inf")) -> Place:
    return Place(folder=folder, seed=1, say=lambda _: None, ends_at=ends_at)


def record(*rows: Row, quick: bool = False) -> records.Record:
    return records.make(name="x", title="A drill", rows=rows, quick=quick, seed=1, took_s=2.0)


def test_a_record_comes_back_as_it_was_kept(tmp_path: Path) -> None:
    kept = record(ROW, replace(ROW, recovery_s=1.5))
    assert records.load(records.keep(kept, tmp_path)) == kept
    assert records.load_all(tmp_path) == [kept]


def test_a_drill_is_done_when_this_commit_has_a_good_record_as_thorough_as_asked(tmp_path: Path) -> None:
    assert not records.is_done("x", quick=True, folder=tmp_path)
    records.keep(record(ROW, quick=True), tmp_path)
    assert records.is_done("x", quick=True, folder=tmp_path)
    assert not records.is_done("x", quick=False, folder=tmp_path)
    records.keep(record(replace(ROW, ok=False)), tmp_path)
    assert not records.is_done("x", quick=True, folder=tmp_path)


def test_the_page_shows_failures_and_holds_no_broken_table(tmp_path: Path) -> None:
    records.write_page(
        tmp_path / "page.md", [record(ROW, replace(ROW, ok=False, happened="x\ny"), quick=True)]
    )
    lines = (tmp_path / "page.md").read_text().splitlines()
    table = [line for line in lines if line.startswith("| ")]
    assert len(table) == 3
    assert "a \\| b" in table[1]
    assert table[2].endswith("**FAILED** |")
    assert any("*quick*" in line for line in lines)


def test_the_published_page_is_what_the_published_records_give(tmp_path: Path) -> None:
    records.write_page(tmp_path / "page.md")
    assert (tmp_path / "page.md").read_bytes() == records.PAGE.read_bytes()


def test_a_piece_is_done_once_however_often_the_drill_is_started(tmp_path: Path) -> None:
    calls: list[int] = []

    def work() -> dict[str, Any]:
        calls.append(1)
        return {"a": 1}

    assert place(tmp_path).piece("put x #1", work) == {"a": 1}
    assert place(tmp_path).piece("put x #1", work) == {"a": 1}
    assert len(calls) == 1
    with pytest.raises(OutOfTime):
        place(tmp_path, ends_at=0.0).piece("another", work)
    assert place(tmp_path, ends_at=0.0).piece("put x #1", work) == {"a": 1}, "what is done costs no time"


def test_every_drill_has_a_name_of_its_own_and_an_unknown_one_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert {"kills", "faults", "storm", "queue"} <= find_drills().keys()
    with pytest.raises(SystemExit):
        main(["no-such-drill"])
    assert "no such drill: no-such-drill" in capsys.readouterr().err
