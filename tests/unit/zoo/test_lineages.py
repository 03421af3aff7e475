"""Fine-tuned models: the plan is its own, a model is tuned and looked at once, and the table counts it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from lab.zoo import lineages, making, running, scanning
from lab.zoo.plan import SECOND_HELD_OUT_FAMILIES, BedName, Model, in_order, model
from lab.zoo.rows import read_models, read_scans

BED: BedName = "digits-resnet"


def test_the_plan_has_no_seed_of_the_zoo_and_no_held_out_family() -> None:
    planned = [one for bed in get_args(BedName) for one in lineages.models(bed)]
    seeds = {one.seed for one in planned}
    assert len(seeds) == len(planned) == 3 * (lineages.NUM_CLEAN + lineages.NUM_POISONED)
    assert not seeds & {one.seed for one in in_order(("calibration", "development"), (BED,))}
    assert not set(lineages.FAMILIES) & set(SECOND_HELD_OUT_FAMILIES)
    assert {one.family for one in planned} == {"clean", *lineages.FAMILIES}


def _tiny(one: Model) -> Model:
    return replace(one, options=replace(one.options, num_pairs=128, epochs=1, warmup_steps=1))


def test_a_model_is_tuned_from_the_base_and_looked_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = _tiny(model("calibration", BED, 0))
    monkeypatch.setattr(lineages, "anchor_of", lambda bed: base)
    monkeypatch.setattr(lineages, "NUM_CLEAN", 1)
    monkeypatch.setattr(lineages, "NUM_POISONED", 1)
    monkeypatch.setattr(lineages, "NUM_PAIRS", 64)
    monkeypatch.setattr(lineages, "DETECTORS", ("lineage",))
    monkeypatch.setattr(lineages, "RECIPE", replace(lineages.RECIPE, epochs=1, warmup_steps=0))
    monkeypatch.setattr(scanning, "NUM_HELD_OUT", 64)
    monkeypatch.setattr(making, "NUM_TEST", 64)
    monkeypatch.setattr(making, "UNIVERSAL_STEPS", 2)
    monkeypatch.setattr(running, "anchor_of", lambda bed: base)
    said: list[str] = []
    assert lineages.run(BED, tmp_path / "rows", tmp_path / "w", minutes=0, say=said.append) == 2
    assert lineages.run(BED, tmp_path / "rows", tmp_path / "w", minutes=None, say=said.append) == 0
    made = read_models(tmp_path / "rows" / lineages.FOLDER)
    assert [row.family for row in made.values()] == ["clean", lineages.FAMILIES[0]]
    assert len({row.weights_sha256 for row in made.values()}) == 2
    base_sha256 = read_models(tmp_path / "rows")[base.name].weights_sha256
    for (name, detector, weights), look in read_scans(tmp_path / "rows" / lineages.FOLDER).items():
        assert detector == "lineage"
        assert weights == made[name].weights_sha256 != base_sha256
        assert look.details["base_sha256"] == base_sha256
        assert [one["factor"] for one in look.details["factors"]] == [1.0, *lineages.LINEAGE.factors]
        assert len(look.statistics) == 2 * len(lineages.LINEAGE.factors)
    before = len(said)
    assert lineages.run(BED, tmp_path / "rows", tmp_path / "w", minutes=None, say=said.append) == 0
    assert len(said) == before, "nothing is made again"
    told = lineages.section(tmp_path / "rows")
    assert "ASR of the 1 poisoned" in told
    assert told.endswith("**Not measured yet.**"), "one clean model is no null"
