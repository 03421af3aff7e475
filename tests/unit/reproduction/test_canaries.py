"""Canaries: what is planted, what they choose, and a whole run on a tiny model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cleanclip.spec.attack_options import kind_of
from cleanclip.spec.recipe import CleanCLIPRecipe, UARRecipe
from lab.reproduction import canaries, data
from lab.reproduction.canaries import canaries_of, judged, name_of, outcome_of, table
from lab.reproduction.canary_choice import Outcome, choose, regret, spearman
from lab.reproduction.cells import Subject
from lab.reproduction.developing import ROWS
from lab.reproduction.development import DevelopmentModel, Variant
from lab.reproduction.grid import subject
from lab.reproduction.uar_page import DOCS
from lab.testbed.options import BADNET, SubjectOptions
from sanitizer.audits.statistics import newcombe, wilson

TINY = SubjectOptions(num_pairs=160, epochs=1, batch_size=32, vision_width=8, warmup_steps=2)
MODEL = DevelopmentModel(name="tiny", subject=Subject(options=TINY, seed=11), families=("badnet",))


def outcome(asr: float, lost: float, *, wide: float = 0.004) -> Outcome:
    return Outcome(worst_asr=asr, worst_asr_high=asr + wide, ca_lost=lost, ca_lost_high=lost + wide)


def test_the_choice_takes_the_least_asr_among_those_within_the_limit_by_the_bounds() -> None:
    found = {"a": outcome(0.0, 0.007), "b": outcome(0.02, 0.002), "c": outcome(0.01, 0.005)}
    assert choose(found) == "c", "a loses more than a point by the upper bound"
    assert choose({"a": found["a"], "d": outcome(0.5, 0.05)}) == "a", "none is within: the least lost"


def test_the_regret_is_what_the_true_triggers_say() -> None:
    truth = {"a": outcome(0.10, 0.001), "b": outcome(0.02, 0.004)}
    found = regret("a", truth, best=choose(truth))
    assert (found.best, found.chosen) == ("b", "a")
    assert (found.asr, found.ca_lost) == pytest.approx((0.08, -0.003))
    assert regret("b", truth, best="b").asr == 0


def test_spearmans_rho_is_that_of_the_ranks() -> None:
    assert spearman([1, 2, 3, 4], [10, 20, 30, 25]) == pytest.approx(0.8)
    assert spearman([1, 2, 2, 3], [1, 2, 2, 3]) == pytest.approx(1.0)
    assert spearman([1, 2, 3], [3, 2, 1]) == pytest.approx(-1.0)
    assert spearman([1, 2], [2, 1]) is None
    assert spearman([1, 1, 1], [1, 2, 3]) is None


def test_canaries_are_of_other_kinds_and_targets_than_the_models_own_attack() -> None:
    own = DevelopmentModel(name="a", subject=subject(BADNET, 12), families=("badnet",))
    planted = canaries_of(own)
    assert len(planted) >= 2
    assert kind_of(BADNET) not in {kind_of(one.attack) for one in planted}  # type: ignore[arg-type]
    nouns = {one.target_noun for one in planted}
    assert len(nouns) == len(planted)
    assert own.subject.options.target_noun not in nouns
    assert canaries_of(own) == planted


def test_the_table_has_a_row_for_each_model_that_was_run_on_both() -> None:
    developed = ROWS.read(DOCS / "reproduction" / "development.jsonl")
    assert table([], developed) == "No model has two recipes that were run on both."
    rows = [
        canaries.Row(
            id=recipe,
            model="vit-five",
            recipe=recipe,
            targets={},
            implanted={},
            asr={"sig": wilson(number, 1000)},
            ca_lost=newcombe(both=900, lost=0, gained=0, neither=100),
            cpu_s=1.0,
            made_with={},
        )
        for recipe, number in (("uar", 5), ("cleanclip", 900), ("par", 1))
    ]
    (found,) = judged(rows, developed)
    assert found.recipes == ("uar", "cleanclip", "par")
    assert found.regret.chosen == "par"
    assert found.rho == pytest.approx(0.5)
    assert "| vit-five | uar, cleanclip, par | 0.50 | par |" in table(rows, developed)
    assert outcome_of({}, rows[0].ca_lost).worst_asr == 0


@pytest.mark.full  # what is planted and chosen is proven daily, above
def test_a_row_is_run_once_and_an_implantation_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = CleanCLIPRecipe(epochs=1, batch_size=32, warmup_steps=1)
    uar = UARRecipe(epochs=1, strong_epochs=0, batch_size=32, inversion_steps=1, warmup_steps=1)
    variants = {
        "uar": Variant(recipe=uar, num_pairs=64),
        "cleanclip": Variant(recipe=short, num_pairs=64),
    }
    monkeypatch.setattr(canaries, "VARIANTS", variants)
    monkeypatch.setattr(canaries, "RECIPES", tuple(variants))
    monkeypatch.setattr(canaries, "MODELS", (MODEL,))
    monkeypatch.setattr(canaries, "IMPLANTING", replace(short, lambda2=0.0))
    monkeypatch.setattr(canaries, "NUM_PAIRS", 64)
    monkeypatch.setattr(canaries, "WORKS", 0.0)
    monkeypatch.setattr(data, "_SIZES", {"test": 100, "validation": 100})
    raw = tmp_path / "canaries.jsonl"
    order = ["--folder", str(tmp_path), "--raw", str(raw)]
    assert canaries.main([*order, "--most", "1"]) == 0
    assert canaries.main(order) == 0
    assert canaries.main(order) == 0
    rows = canaries.ROWS.read(raw)
    assert [row.recipe for row in rows] == ["uar", "cleanclip"]
    names = [name_of(one) for one in canaries_of(MODEL)]
    for row in rows:
        assert list(row.asr) == list(row.implanted) == names
        assert all(one.n > 50 for one in row.asr.values())
    assert rows[0].implanted == rows[1].implanted
    monkeypatch.setattr(canaries, "WORKS", 2.0)
    monkeypatch.setattr(canaries, "MOST_ROUNDS", 1)
    assert canaries.main(order) == 1, "a canary that does not work is no canary"
    assert len(canaries.ROWS.read(raw)) == 2
