"""The study of SigLIPs: held-out models stay apart, two counts agree, and a row is made once."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from cleanclip.spec.jobspec import TOKENIZERS_VARIABLE
from lab.reproduction import data
from lab.siglip import __main__ as study
from lab.siglip import plan
from lab.siglip.training import Texts
from lab.testbed import glyphs
from lab.testbed.pictures import all_class_captions
from sanitizer.checkpoints.tokenizer_file import load_tokenizer
from tools.reference.siglip import disagreements, rows


def test_no_held_out_model_shares_seed_trigger_or_test_images_with_development() -> None:
    developed, held_out = (plan.models(part) for part in ("development", "held_out"))
    assert not {one.seed for one in developed} & {one.seed for one in held_out}
    assert not {one.options.attack for one in developed if one.options.attack} & {
        one.options.attack for one in held_out
    }
    assert plan.JUDGED_ON == {"development": "validation", "held_out": "test"}


def test_the_published_rows_are_of_the_named_models_and_both_counts_are_of_the_same_images() -> None:
    named = {one.name: one for part in plan.SEEDS for one in plan.models(part)}
    for name, row in rows().items():
        assert (row["seed"], row["target"]) == (named[name].seed, named[name].options.target)
        assert row["attack"]["pattern_seed"] == row["seed"]
        assert row["recommended_from"], "the recipe is the recommended one"
        assert disagreements(row) == {}


def test_training_and_service_read_a_text_as_the_same_tokens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digits = glyphs.digits()
    texts = Texts(digits)
    (tmp_path / f"{texts.sha256}.json").write_bytes(texts.content)
    monkeypatch.setenv(TOKENIZERS_VARIABLE, str(tmp_path))
    encode = load_tokenizer(texts.sha256, num_rows=texts.num_tokens, context_length=Texts.context_length)
    captions = all_class_captions(digits)
    assert texts(captions).tolist() == [encode(one.replace(".", "")) for one in captions]
    assert 2 not in texts(captions), "every word has a token"


def test_a_siglip_is_trained_cleaned_and_counted_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    small = replace(
        plan.OPTIONS,
        glyphs="digits",
        target_noun="seven",
        num_pairs=128,
        epochs=1,
        batch_size=32,
        warmup_steps=1,
    )
    recipe = replace(study.ORDERED, epochs=1, strong_epochs=0, batch_size=32, inversion_steps=1)
    monkeypatch.setattr(plan, "OPTIONS", small)
    monkeypatch.setattr(study, "with_recommended", lambda *given: recipe)
    monkeypatch.setattr(study, "NUM_PAIRS", 64)
    monkeypatch.setitem(data.SIZES, "validation", 48)
    given = ["development", "--rows", str(tmp_path / "rows"), "--weights", str(tmp_path / "weights")]
    monkeypatch.setenv(TOKENIZERS_VARIABLE, "")
    for _ in range(2):
        assert study.main([*given, "--only", "badnet"]) == 0
        (row,) = map(json.loads, (tmp_path / "rows").read_text(encoding="utf-8").splitlines())
    assert row["model"] == "development-badnet-0"
    assert row["before"]["ca"]["n"] == row["after"]["ca"]["n"] == row["counted"]["after"]["ca"]["n"] == 48
    assert disagreements(row) == {}
    assert study.main([*given, "--minutes", "-1"]) == 1
