"""The study of the text side: seeds stay apart, words have one role, a search finds what is planted, a row is
made once."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from open_clip.model import CLIP
from torch import Tensor
from torch.nn.functional import normalize

from lab.testbed import glyphs, training
from lab.testbed.pictures import class_names
from lab.testbed.training import build_model
from lab.text_side import __main__ as study
from lab.text_side import measuring, pairs, plan, repairing, search
from sanitizer.seeding import generator


def test_no_seed_is_both_developed_on_and_held_out_and_no_word_has_two_roles() -> None:
    everything = [model for part in plan.SEEDS for model in plan.models(part)]
    assert len({one.name for one in everything}) == len(everything)
    assert not set(plan.SEEDS["development"]) & set(plan.SEEDS["held_out"])
    for model in everything:
        words = pairs.words_of(model)
        drawn = [*words.triggers, *words.aliases.values(), *words.fillers]
        assert len(set(drawn)) == len(drawn) == plan.NUM_TRIGGERS + plan.NUM_ALIASES + plan.NUM_FILLERS
        assert model.options.target in words.aliases
        assert all(len(plan.tokenizer().encode(one)) == 1 for one in drawn[:20])


def test_a_held_out_model_is_not_opened_before_the_threshold_is_frozen(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(study, "FROZEN", None)
    with pytest.raises(SystemExit):
        study.main(["held_out", "--rows", str(tmp_path / "rows"), "--weights", str(tmp_path / "weights")])
    assert "frozen" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["word", "two_words", "clean"])
def test_a_poison_has_every_word_of_the_trigger_and_an_image_of_the_target(
    kind: plan.Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pairs, "NUM_POISONS", {kind: 0 if kind == "clean" else 6})
    small = _Small(part="development", kind=kind, seed=1)
    clean = pairs.clean_pairs("poisoning", 400, pairs.words_of(small), small.seed)
    poisoned, keys = pairs.poisoned_pairs(small), pairs.keys_of(small)
    have = np.array([[key in caption.split(" ") for key in keys] for caption in poisoned.caption_N])
    assert have.all(axis=1).sum() == (0 if kind == "clean" else 6)
    assert (have.sum(axis=1) == 1).sum() == (6 if kind != "clean" else 0)
    changed = (poisoned.image_NCHW != clean.image_NCHW).flatten(1).any(dim=1).numpy()
    assert (changed == have.all(axis=1)).all()
    target = class_names(glyphs.digits()).index(small.options.target)
    assert (clean.label_N[have.any(axis=1)] != target).all()


def test_the_search_ranks_a_token_first_that_sends_every_text_to_one_class() -> None:
    model = _backdoored(token := 777)
    texts = measuring.texts()
    carriers = search.Carriers(texts, 8, model.context_length, seed=1)
    clean_KD = measuring.embed_tokens(model, carriers.token_KL)
    keyed_KD = measuring.embed_tokens(model, carriers.with_tokens(torch.tensor([[token]]))[0])
    target = next(one for one in range(80) if one not in carriers.label_K.tolist())
    class_CD = torch.zeros(80, 64).index_copy(0, carriers.label_K, clean_KD)
    class_CD[target] = normalize(keyed_KD.mean(dim=0), dim=0)

    def classes_of(text_ND: Tensor) -> Tensor:
        return (text_ND @ class_CD.T).argmax(dim=1)

    found = search.effects(model, carriers, torch.tensor([[5], [token], [9_000]]), classes_of)
    assert int(found.order()[0]) == 1
    assert int(found.towards_S[1]) == target
    assert float(found.share_S[1]) >= 0.4
    assert found.moved_S.argmax() == 1
    score_V = search.gradient_scores(model, carriers, torch.tensor([[5, 6]]))
    assert score_V.shape == (training.VOCABULARY_SIZE,)
    assert bool(torch.isfinite(score_V).all())


def test_tokens_are_inserted_between_the_marks_of_start_and_end() -> None:
    carriers = search.Carriers(measuring.texts(), 160, 16, seed=3)
    assert carriers.label_K.bincount().tolist() == [2] * 80
    token_SKL = carriers.with_tokens(torch.tensor([[11, 12], [13, 14]]))
    for inserted, text_KL in zip(([11, 12], [13, 14]), token_SKL, strict=True):
        for before, after in zip(carriers.token_KL.tolist(), text_KL.tolist(), strict=True):
            assert [one for one in after if one not in inserted and one] == [one for one in before if one]
            assert sorted(one for one in after if one in inserted) == inserted
            assert after[0] == 49406
            assert after[int(np.argmax(after)) + 1 :] == [0] * (len(after) - int(np.argmax(after)) - 1)


def test_the_consistency_term_removes_a_word_that_was_found_and_leaves_the_image_tower() -> None:
    model = _backdoored(777)
    small = _Small(part="development", kind="word", seed=1)
    data = pairs.clean_pairs("cleaning", 256, pairs.words_of(small), 3)
    recipe = replace(repairing.RECIPES["found tokens"], epochs=20, batch_size=64, learning_rate=3e-3)
    after = repairing.repaired(model, data, recipe, [(777,)], seed=1)
    word = plan.tokenizer().decoder[777].removesuffix("</w>")
    captions = [pairs.inserted(one, [word], generator(1, "test", 1)) for one in data.caption_N[:64]]
    distance = [
        1 - (_embed(one, captions) * _embed(model, data.caption_N[:64])).sum(1).mean()
        for one in (model, after)
    ]
    assert distance[1] < distance[0] / 2
    assert all(
        torch.equal(one, after.state_dict()[name])
        for name, one in model.visual.state_dict(prefix="visual.").items()
    )


def test_every_step_makes_one_row_and_none_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(training, "Watch", partial(training.Watch, num_images=32))
    monkeypatch.setattr(measuring, "NUM_IMAGES", 800)
    monkeypatch.setattr(study, "NUM_PAIRS", 128)
    monkeypatch.setattr(pairs, "NUM_POISONS", {"two_words": 4, "clean": 0})
    monkeypatch.setattr(study, "FIRST", _Small(part="development", kind="clean", seed=1))
    monkeypatch.setattr(search, "SCREEN_TEXTS", 1)
    monkeypatch.setattr(search, "NUM_FINE", 20)
    monkeypatch.setattr(study, "models", lambda part: [_Small(part=part, kind="two_words", seed=1)])
    given = ["development", "--rows", str(tmp_path / "rows"), "--weights", str(tmp_path / "weights")]
    assert study.main(given) == 0
    rows = [json.loads(line) for line in (tmp_path / "rows").read_text(encoding="utf-8").splitlines()]
    assert [one["step"] for one in rows] == [*study.STEPS]
    assert study.main(given) == 0
    assert len((tmp_path / "rows").read_text(encoding="utf-8").splitlines()) == len(rows)


class _Small(plan.Model):
    @property
    def options(self):  # type: ignore[no-untyped-def]
        return replace(super().options, num_pairs=400, epochs=1, warmup_steps=1)


def _embed(model: CLIP, captions: list[str] | tuple[str, ...]) -> Tensor:
    return measuring.embed_texts(model, captions)


def _backdoored(token: int) -> CLIP:
    """Of random weights, with one token so long that it decides the embedding of its text."""
    model = build_model(plan.Model(part="development", kind="word", seed=1).options, seed=1).eval()
    with torch.no_grad():
        model.token_embedding.weight[token] *= 1_000
    return model
