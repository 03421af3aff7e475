"""Models of the zoo after each method: made once, measured with the attack that was trained in."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from cleanclip.spec.recipe import CleanCLIPRecipe, SupervisedRecipe
from cleanclip.spec.scan_options import CollapseDetectorOptions, PatternFamily
from lab.testbed import training
from lab.zoo import cleaned, making, scanning
from lab.zoo.plan import Model, model
from lab.zoo.rows import read_models, read_scans
from lab.zoo.running import Folders


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Model:
    search = CollapseDetectorOptions(
        families=(PatternFamily(family="patch", budget=0.25),), restarts=1, images_per_step=2, steps=(1,)
    )
    monkeypatch.setattr(scanning, "SCAN", replace(scanning.SCAN, collapse=search))
    monkeypatch.setattr(scanning, "NUM_HELD_OUT", 64)
    monkeypatch.setattr(making, "NUM_TEST", 64)
    monkeypatch.setattr(training, "Watch", partial(training.Watch, num_images=32))
    recipes = [
        (CleanCLIPRecipe(epochs=1, batch_size=32, warmup_steps=1), 64),
        (SupervisedRecipe(epochs=1, batch_size=32, warmup_steps=1), 64),
    ]
    monkeypatch.setattr(cleaned, "recipes_for", lambda one: recipes)
    one = model("development", "digits-resnet", 2)
    return replace(
        one, options=replace(one.options, num_pairs=128, epochs=1, warmup_steps=1, context_length=12)
    )


def test_each_method_gives_a_model_of_its_own_and_what_is_there_is_not_made_again(
    tiny: Model, tmp_path: Path
) -> None:
    folders, said = Folders(rows=tmp_path / "rows", weights=tmp_path / "weights"), list[str]()
    assert cleaned.run(folders, None, said.append, [tiny]) == 0
    made = read_models(folders.rows / "cleaned")
    before, *after = made.values()
    assert [row.name for row in after] == [f"{tiny.name}+cleanclip", f"{tiny.name}+supervised"]
    assert before.cleaned == {}
    for row in after:
        assert row.cleaned["from_weights_sha256"] == before.weights_sha256 != row.weights_sha256
        assert row.asr[0].n == before.asr[0].n
    assert [row.cleaned["recipe"]["method"] for row in after] == ["cleanclip", "supervised"]
    searched = {(name, weights) for name, _, weights in read_scans(folders.rows / "cleaned")}
    assert searched == {(row.name, row.weights_sha256) for row in made.values()}
    said.clear()
    assert cleaned.run(folders, None, said.append, [tiny]) == 0
    assert said == []
    assert cleaned.run(folders, -1, said.append, [tiny]) == 1


def test_the_chosen_models_are_balanced_and_have_the_recommended_values() -> None:
    """Both towers and both datasets, poisoned and never poisoned, in every half of the list."""
    for half in (cleaned.MODELS[:4], cleaned.MODELS[4:10]):
        assert {(one.is_clean, one.options.tower) for one in half} == {
            (is_clean, tower) for is_clean in (False, True) for tower in ("resnet", "vit")
        }
    assert len({one.name for one in cleaned.MODELS}) == len(cleaned.MODELS)
    of_tower = {
        one.options.tower: [recipe.method for recipe, _ in cleaned.recipes_for(one)] for one in cleaned.MODELS
    }
    assert of_tower == {"resnet": ["uar", "cleanclip", "par", "supervised"], "vit": ["uar", "par"]}
    assert all(
        recipe.learning_rate >= 1e-4 for one in cleaned.MODELS for recipe, _ in cleaned.recipes_for(one)
    )
