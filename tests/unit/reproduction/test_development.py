"""The development models: apart from everything that is held out, and named once."""

from __future__ import annotations

from dataclasses import replace

from lab.reproduction import grid
from lab.reproduction.attackers import ATTACKERS, ATTACKERS_PLAN, LATER_ATTACKERS, LATER_ATTACKERS_PLAN
from lab.reproduction.cells import cell_id, subject_of, surrogates
from lab.reproduction.developing import ROWS, row_id
from lab.reproduction.development import LATER, MODELS, PLAN, VARIANTS
from lab.reproduction.development_table import changed, methods_table, variants_table
from lab.reproduction.document import FOLDER
from lab.reproduction.final_rows import read_final
from lab.reproduction.opening import gate_of
from lab.reproduction.uar_page import DOCS, with_tables
from lab.reproduction.uar_page import RAW as RAW_NAME

RAW = DOCS / FOLDER / RAW_NAME
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
        assert len(set(targets)) == len(targets) == len(model.families)


def test_each_page_has_the_tables_of_the_raw_rows() -> None:
    rows = ROWS.read(RAW)
    assert len({row.id for row in rows}) == len(rows), "a run is published once"
    made = with_tables(DOCS, read_final(DOCS / FOLDER, gate_of()))
    assert made == {path: path.read_text(encoding="utf-8") for path in made}, (
        "run python -m lab.reproduction.uar_page"
    )
    known = {row_id(model, variant) for model in MODELS for variant in (None, *VARIANTS.values())}
    assert {row.id for row in rows} <= known, "rows are of named models and recipes"


def test_a_run_that_failed_stands_in_the_table_with_its_error() -> None:
    row = replace(ROWS.read(RAW)[0], test=None, error="TrainingDiverged: x")
    assert "| failed: TrainingDiverged: x |" in methods_table([row, ROWS.read(RAW)[0]])


def test_the_plan_names_what_there_is_and_nothing_twice() -> None:
    planned = [
        (model, name)
        for model, names in (*PLAN, *LATER, *ATTACKERS_PLAN, *LATER_ATTACKERS_PLAN)
        for name in names
    ]
    assert len(set(planned)) == len(planned)
    assert {model for model, _ in planned} <= {
        model.name for model in (*MODELS, *ATTACKERS, *LATER_ATTACKERS)
    }
    assert {name for _, name in planned} <= {"before", *VARIANTS}


def test_an_attackers_model_is_no_development_model_and_none_of_the_grid() -> None:
    attackers = (*ATTACKERS, *LATER_ATTACKERS)
    seeds = {model.subject.seed for model in attackers}
    assert len(seeds) == len(attackers)
    assert not seeds & {*grid.SEEDS, *(model.subject.seed for model in MODELS)}
    by_name = {model.name: model for model in attackers}
    for name, variant in (("trained-against", "uar"), ("trained-against-kept", "uar kept 0.8")):
        ((attack, _),) = by_name[name].attacks()
        clean, cleaned = surrogates(by_name[name].subject, attack)
        assert clean.options.attack is None
        kept = VARIANTS[variant].changes.kept
        assert cleaned.recipe == replace(VARIANTS[variant].recipe, kept_change=kept)
    assert by_name["never-poisoned"].attacks() == by_name["trained-against"].attacks()


def test_a_variant_says_what_is_changed() -> None:
    rows = {row.method: row for row in ROWS.read(RAW) if row.model == "resnet-badnet"}
    assert changed(rows["uar"]) == ""
    assert changed(rows["uar low rate"]) == "learning rate 0.0002"
    assert changed(rows["uar kept 0.8"]) == "kept 0.8"
    assert "| resnet-badnet | uar low rate | learning rate 0.0002 |" in variants_table(ROWS.read(RAW))
