"""UAR's final evaluation: what it has, what it takes, and that nothing of it opens before the freeze."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import torch

from cleanclip.spec.recipe import CleanCLIPRecipe, UARRecipe, to_json
from lab.freezing import HeldOut
from lab.reproduction import developing, final, finalising, grid
from lab.reproduction.beyond import CORRUPTIONS, ROWS
from lab.reproduction.cells import Cleaning, Control, Subject, cell_id, subject_of
from lab.reproduction.development import MODELS, UAR
from lab.reproduction.document import read_raw
from lab.reproduction.finalising import EXIT_DONE, EXIT_HELD_OUT
from lab.reproduction.freezing import ADAPTER, FROZEN, ROOT
from lab.reproduction.grid import in_order
from lab.reproduction.opening import gate_of
from lab.reproduction.summary import Results
from lab.testbed.leaves import leaves
from tests.unit.reproduction.made_up import made_up

PUBLISHED = read_raw(ROOT / "docs/reproduction/cells.jsonl")


def git(folder: Path, *words: str) -> None:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init")
    (tmp_path / FROZEN.parent).mkdir(parents=True)
    return tmp_path


def freeze(repository: Path, recipe: UARRecipe = UAR) -> None:
    path = repository / "recipe.json"
    path.write_text(json.dumps(to_json(recipe)))
    assert finalising.main(["--freeze", str(path), str(path), "--root", str(repository)]) == EXIT_DONE


def commit(repository: Path) -> None:
    git(repository, "add", "-A")
    git(repository, "commit", "-m", "Freeze")


def test_uar_stands_in_every_table_that_has_cleanclips_recipe() -> None:
    ours = {question.name: in_order([question]) for question in final.questions()}
    for question in grid.questions():
        if question.name in ("lambda", "rate by epochs"):
            continue
        theirs = [
            cell
            for cell in in_order([question])
            if isinstance(cell, Cleaning) and cell.recipe == grid.CLEANCLIP and cell.seed is None
        ]
        cells = ours[f"table: {question.name}"]
        for cell in theirs:
            assert any(
                isinstance(one, Cleaning)
                and isinstance(one.recipe, UARRecipe)
                and (one.subject, one.num_poisons) == (cell.subject, cell.num_poisons)
                for one in cells
            )
    assert any(isinstance(one, Control) for one in ours["table: other attacks"])


def test_fewer_images_have_as_many_updates() -> None:
    for question in final.questions():
        if "number of" not in question.name or "poisons" in question.name:
            continue
        for cell in in_order([question]):
            if isinstance(cell, Cleaning) and isinstance(cell.recipe, UARRecipe):
                assert cell.recipe.epochs * cell.num_samples == UAR.epochs * 8_000
                assert cell.recipe.strong_epochs * cell.num_samples == UAR.strong_epochs * 8_000


def test_an_ablation_changes_uar_and_no_two_are_the_same_run() -> None:
    question = next(one for one in final.questions() if one.name == "ablations")
    cells = [cell for cell in in_order([question]) if isinstance(cell, Cleaning)]
    assert len({cell_id(cell) for cell in cells}) == len(final.ABLATIONS) * len(final.ABLATED) * len(
        grid.SEEDS
    )
    assert all(cell.recipe != UAR for cell in cells)


def test_no_final_model_is_a_development_model() -> None:
    developed = {cell_id(model.subject) for model in MODELS}
    cells = in_order(final.questions())
    assert not developed & {cell_id(cell) for cell in cells if isinstance(cell, Subject)}
    cleaned = {cell.recipe for cell in cells if isinstance(cell, Cleaning)}
    assert any(isinstance(recipe, CleanCLIPRecipe) for recipe in cleaned), "of models never poisoned, too"


def test_models_whose_attack_was_not_implanted_as_published_are_not_trained_again() -> None:
    question = next(one for one in final.questions() if one.name == "table: paper digits resnet")
    *others, weak = (cell for cell in in_order([question]) if isinstance(cell, Subject))
    published = Results([*(made_up(one, 2_700, 2_871) for one in others), made_up(weak, 2_700, 29)])
    asked = finalising.all_questions(final.CANDIDATE, published)
    left = in_order([one for one in asked if one.name == question.name])
    assert {subject_of(cell) for cell in left} == set(others)


def test_the_list_says_what_is_missing_and_how_long_it_takes(capsys: pytest.CaptureFixture[str]) -> None:
    timed = final.timings(PUBLISHED, [("resnet", 60.0), ("vit", 120.0)])
    found = final.parts(final.questions(), lambda cells: cells, timed)
    counted = [cell_id(cell) for part in found for cell in part.missing]
    assert len(counted) == len(set(counted)) == len(in_order(final.questions()))
    assert all(part.minutes > 0 for part in found)
    assert finalising.main(["--part", "ablations", "--folder", "/nowhere"]) == EXIT_DONE
    listed = capsys.readouterr().out.splitlines()
    name, cells, missing, minutes = listed[1].split()
    assert (name, cells) == ("ablations", "78")
    assert (int(missing) > 0) == (float(minutes) > 0)


def test_nothing_is_run_before_the_recipes_are_frozen_in_a_commit(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = ["--run", "--root", str(repository), "--folder", str(tmp_path / "cells")]
    assert finalising.main(run) == EXIT_HELD_OUT
    freeze(repository)
    assert finalising.main(run) == EXIT_HELD_OUT, "it is written, and not committed"
    commit(repository)
    assert gate_of(repository).frozen().recipes == {"resnet": UAR, "vit": UAR}
    other = (
        (repository / FROZEN)
        .read_bytes()
        .replace(b'"note":""', b'"note":"x"')
        .replace(b'"note": ""', b'"note": "x"')
    )
    (repository / FROZEN).write_bytes(other)
    assert finalising.main(run) == EXIT_HELD_OUT
    assert "differs from the committed file" in capsys.readouterr().err


@pytest.mark.parametrize("field", ["plan_sha256", "method_sha256"])
def test_a_decision_made_with_another_plan_or_method_opens_nothing(repository: Path, field: str) -> None:
    freeze(repository)
    decided = json.loads((repository / FROZEN).read_text()) | {field: "0" * 64}
    (repository / FROZEN).write_text(json.dumps(decided))
    commit(repository)
    with pytest.raises(HeldOut, match="another version of the " + field.removesuffix("_sha256")):
        gate_of(repository).opened()
    assert getattr(gate_of(repository).frozen(), field) == "0" * 64, "what was run under it stays readable"


def test_a_decision_needs_a_recipe_for_each_tower() -> None:
    decided = {"recipes": {"resnet": to_json(UAR)}, "plan_sha256": "0", "method_sha256": "0"}
    with pytest.raises(ValueError, match="one for resnet and one for vit"):
        ADAPTER.validate_python(decided)


def test_a_row_of_uar_cannot_be_read_before(repository: Path) -> None:
    run = next(one for one in PUBLISHED if one.spec["kind"] == "cleaning")
    assert gate_of(repository).admit([run]) == [run]
    run.spec["recipe"]["method"] = "uar"
    with pytest.raises(HeldOut, match="not committed"):
        gate_of(repository).admit([run])
    freeze(repository)
    commit(repository)
    with pytest.raises(HeldOut, match="a method that was not frozen"):
        gate_of(repository).admit([run])
    run.made_with["method_sha256"] = gate_of(repository).frozen().method_sha256
    assert gate_of(repository).admit([run]) == [run]
    run.spec.update(recipe={"method": "cleanclip"}, then={"method": "uar"})
    run.made_with["method_sha256"] = "another"
    with pytest.raises(HeldOut, match="a method that was not frozen"):
        gate_of(repository).admit([run])


def test_attackers_wait_for_the_freeze_too(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(developing, "gate_of", lambda: gate_of(repository))
    raw = repository / "attackers.jsonl"
    with pytest.raises(HeldOut):
        developing.main(["--attackers", "--folder", str(repository), "--raw", str(raw)])
    assert not raw.exists()


def test_corruptions_keep_the_shape_and_change_images() -> None:
    images = torch.rand(2, 3, 8, 8)
    for corrupt in CORRUPTIONS.values():
        assert corrupt(images).shape == images.shape
        assert not torch.equal(corrupt(images), images)
    assert ROWS.read(Path("nowhere")) == []


def test_leaves_are_images_by_their_number_alone() -> None:
    first = leaves(1, 0, 32)
    assert first.shape == (32, 32, 3)
    assert (leaves(1, 0, 32) == first).all()
    assert (leaves(1, 1, 32) != first).any()
    assert len({tuple(pixel) for pixel in first.reshape(-1, 3).tolist()}) > 5


def test_published_cells_keep_their_names() -> None:
    """An option that came later, at the value that changes nothing, renames no run."""
    cells = {cell_id(cell) for cell in in_order(grid.questions())}
    assert {run.id for run in PUBLISHED} <= cells
