"""The study of repair: what is developed on and what is held out stay apart, and a row is made once."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from cleanclip.vocabulary.uar_recipe import UARRecipe
from lab.repair import __main__ as repair
from lab.repair import plan
from lab.testbed import training
from lab.testbed.options import OtherPaper, PaperColour


def test_no_held_out_trigger_is_a_development_model_s_and_no_seed_is_used_twice() -> None:
    developed, held_out = (plan.models(part) for part in plan.PARTS)
    everything = [*developed, *held_out]
    assert len({one.seed for one in everything}) == len({one.name for one in everything}) == len(everything)
    seen = {repr(one.options.attack) for one in developed if one.options.attack is not None}
    assert not seen & {repr(one.options.attack) for one in held_out}
    assert not any(type(one.options.attack) is PaperColour for one in held_out)
    assert sum(isinstance(one.options.attack, OtherPaper) for one in held_out) == 4 * len(plan.BEDS)
    assert set(plan.FROZEN) <= set(plan.RECIPES)


@pytest.fixture
def is_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "Watch", partial(training.Watch, num_images=32))
    monkeypatch.setattr(repair, "NUM_IMAGES", 64)
    monkeypatch.setattr(repair, "NUM_PAIRS", 64)


@pytest.mark.parametrize("recipes", [["a"], ["version 1", "m"]])
def test_a_held_out_model_is_not_shown_to_a_recipe_that_is_not_frozen(
    recipes: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = ["--rows", str(tmp_path / "rows"), "--weights", str(tmp_path / "weights")]
    with pytest.raises(SystemExit):
        repair.main(["held_out", "--recipes", *recipes, *folders])
    assert "frozen recipes alone" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("is_quick")
def test_a_model_is_measured_before_and_after_and_what_is_there_is_not_made_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tried = UARRecipe(
        epochs=1, strong_epochs=1, batch_size=32, inversion_steps=1, inverted_edits=1, strong_edit_share=0.2
    )
    monkeypatch.setattr(plan, "RECIPES", {"a": lambda bed: tried})
    (orange,) = (one for one in plan.models("held_out") if one.name == "held_out-digits-resnet-orange_paper")
    small = replace(orange.options, num_pairs=128, epochs=1, warmup_steps=1, context_length=12)
    monkeypatch.setattr(repair, "models", lambda part: [replace(orange, split=part, options=small)])
    given = ["--rows", str(tmp_path / "rows"), "--weights", str(tmp_path / "weights")]
    assert repair.main(["development", "--recipes", "a", *given]) == 0
    before, after = map(json.loads, (tmp_path / "rows").read_text(encoding="utf-8").splitlines())
    assert [before["recipe"], after["recipe"]] == ["before", "a"]
    assert before["weights_sha256"] != after["weights_sha256"]
    assert after["lost"]["n"] == 64
    assert after["lost"]["both"] + after["lost"]["lost"] == before["ca"]["successes"]
    assert after["lost"]["both"] + after["lost"]["gained"] == after["ca"]["successes"]
    assert before["asr"]["n"] == after["asr"]["n"] < 64
    assert repair.main(["development", "--recipes", "a", *given]) == 0
    assert len((tmp_path / "rows").read_text(encoding="utf-8").splitlines()) == 2
    whole = (tmp_path / "rows").read_bytes()
    (tmp_path / "rows").write_bytes(whole[:-40])
    assert repair.main(["development", "--recipes", "a", *given]) == 0
    assert [json.loads(line)["recipe"] for line in (tmp_path / "rows").open()] == ["before", "a"], (
        "a row that a crash cut short is made again"
    )
    (tmp_path / "rows").unlink()
    assert repair.main(["development", "--recipes", "a", "--minutes", "-1", *given]) == 1


@pytest.mark.usefixtures("is_quick")
def test_arithmetic_and_two_steps_change_the_image_tower_and_no_rival_is_shown_more_than_is_frozen(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    searched = UARRecipe(inversion_steps=1, inverted_patches=2, inverted_blends=1, bank_size=8)
    quick = plan.Arithmetic(searched=searched, alpha=1.0, num_steps=2, batch_size=8, learning_rate=1e-3)
    rivals = {"tbar 4": lambda bed: (quick,), "cleanclip then version 1": lambda bed: (quick, quick)}
    monkeypatch.setattr(plan, "RIVALS", rivals)
    first = plan.rival_models()[0]
    assert (first.split, first.bed, first.family) == ("held_out", "digits-resnet", "orange paper")
    small = replace(first.options, num_pairs=128, epochs=1, warmup_steps=1, context_length=12)
    monkeypatch.setattr(repair, "rival_models", lambda: [replace(first, options=small)])
    given = ["--rows", str(tmp_path / "rows"), "--weights", str(tmp_path / "weights")]
    assert repair.main(["rivals", "--recipes", *rivals, *given]) == 0
    before, one, two = map(json.loads, (tmp_path / "rows").read_text(encoding="utf-8").splitlines())
    assert len({row["weights_sha256"] for row in (before, one, two)}) == 3
    assert one["options"]["method"] == "tbar"
    assert len(two["options"]) == 2
    with pytest.raises(SystemExit):
        repair.main(["rivals", "--recipes", "tbar 12", *given])
