"""Cells: their names decide what is run again, their needs decide the order."""

from dataclasses import replace

import pytest

from lab.reproduction import cells, grid
from lab.reproduction.cells import Cell, Cleaning, Control, Subject, cell_id, needs
from lab.reproduction.grid import in_order, questions
from lab.testbed.options import BADNET, OptimisedPattern


def test_a_cell_has_the_same_name_as_long_as_nothing_that_decides_its_figures_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    subject = grid.subject(BADNET, 1)
    cleaning = Cleaning(subject=subject, recipe=grid.CLEANCLIP)
    variants: list[Cell] = [
        subject,
        grid.subject(BADNET, 2),
        grid.subject(BADNET, 1, grid.FASHION),
        grid.subject(BADNET, 1, grid.FASHION_VIT),
        cleaning,
        replace(cleaning, recipe=replace(grid.CLEANCLIP, lambda2=2.0)),
        replace(cleaning, recipe=grid.PAR),
        replace(cleaning, num_poisons=1),
        replace(cleaning, num_samples=4_000),
        Control(subject=subject, attacked=subject.options),
    ]
    names = [cell_id(cell) for cell in variants]
    assert len(set(names)) == len(names)
    assert cell_id(Cleaning(subject=grid.subject(BADNET, 1), recipe=replace(grid.CLEANCLIP))) == names[4]
    monkeypatch.setattr(cells, "RESULTS", cells.RESULTS + 1)
    assert cell_id(cleaning) != names[4]


def test_every_cell_comes_once_and_after_what_it_needs() -> None:
    ordered = in_order(questions())
    names = [cell_id(cell) for cell in ordered]
    assert len(set(names)) == len(names)
    for place, cell in enumerate(ordered):
        assert {cell_id(first) for first in needs(cell)} <= set(names[:place])


def test_an_adaptive_pattern_needs_a_clean_model_and_what_cleanclip_makes_of_it() -> None:
    subject = grid.subject(OptimisedPattern(), 1)
    clean, cleaned = needs(subject)
    assert isinstance(clean, Subject)
    assert clean.options.attack is None
    assert clean == grid.subject(None, 1)
    assert isinstance(cleaned, Cleaning)
    # The attacker's own draws: he does not know the defender's pairs and their order.
    assert cleaned != Cleaning(subject=clean, recipe=grid.CLEANCLIP)
    assert replace(cleaned, seed=None) == Cleaning(subject=clean, recipe=grid.CLEANCLIP)
    assert needs(Cleaning(subject=subject, recipe=grid.CLEANCLIP)) == (subject,)
    assert needs(grid.adaptive_control(1)) == (clean, subject)
    control = grid.adaptive_control(1, grid.PAR)
    assert needs(control) == (Cleaning(subject=clean, recipe=grid.PAR), subject)


def test_the_grid_holds_what_the_paper_reports_for_three_seeds() -> None:
    table = [q for q in questions() if q.name.startswith("paper ")]
    assert len(table) == len(grid.BEDS)
    for question in table:
        cells = in_order([question])
        subjects = [cell for cell in cells if isinstance(cell, Subject)]
        assert {cell.seed for cell in subjects} == {1, 2, 3}
        assert len(subjects) == 3 * len(grid.PAPER_ATTACKS)
        assert len(cells) == len(subjects) * (1 + len(grid.DEFENCES))
