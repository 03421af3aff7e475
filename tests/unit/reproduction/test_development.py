"""The development models: apart from everything that is held out, and named once."""

from __future__ import annotations

from dataclasses import replace

from lab.reproduction import grid
from lab.reproduction.cells import cell_id, subject_of
from lab.reproduction.developing import read_rows, row_id
from lab.reproduction.development import MODELS, PLAN, VARIANTS
from lab.reproduction.development_table import PAGE, RAW, table, with_table

HELD_OUT = {"wanet", "sig", "label_consistent", "optimised_pattern", "paper_colour"}


def test_no_development_model_is_of_a_held_out_seed_or_family() -> None:
    seeds = [model.subject.seed for model in MODELS]
    assert len(set(seeds)) == len(seeds)
    assert not set(seeds).intersection(grid.SEEDS)
    attacks = {attack.attack for model in MODELS for attack, _ in model.attacks()}
    assert not attacks.intersection(HELD_OUT)


def test_no_development_model_is_a_model_of_the_reproduction() -> None:
    published = {cell_id(subject_of(cell)) for cell in grid.in_order(grid.questions())}
    assert not published.intersection(cell_id(model.subject) for model in MODELS)


def test_the_attacks_of_a_model_have_targets_of_their_own() -> None:
    for model in MODELS:
        targets = [target for _, target in model.attacks()]
        assert len(set(targets)) == len(targets) == len([one for one in model.families if one != "none"])


def test_the_page_has_the_table_of_the_raw_rows() -> None:
    rows = read_rows(RAW)
    assert len({row.id for row in rows}) == len(rows), "a run is published once"
    page = PAGE.read_text(encoding="utf-8")
    assert with_table(page, rows) == page, "run python -m lab.reproduction.development_table"
    known = {row_id(model, variant) for model in MODELS for variant in (None, *VARIANTS.values())}
    assert {row.id for row in rows} <= known, "rows are of named models and recipes"


def test_a_run_that_failed_stands_in_the_table_with_its_error() -> None:
    row = replace(read_rows(RAW)[0], test=None, error="TrainingDiverged: x")
    assert "| failed: TrainingDiverged: x |" in table([row, read_rows(RAW)[0]])


def test_the_plan_names_what_there_is_and_nothing_twice() -> None:
    planned = [(model, name) for model, names in PLAN for name in names]
    assert len(set(planned)) == len(planned)
    assert {model for model, _ in planned} <= {model.name for model in MODELS}
    assert {name for _, name in planned} <= {"before", *VARIANTS}
