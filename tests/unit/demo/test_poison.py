"""The test subject: what is poisoned, what is trained, and that a seed decides it."""

from __future__ import annotations

from dataclasses import replace

import torch
from open_clip.tokenizer import SimpleTokenizer

from demo.digits import CLASS_NAMES, ZERO_SHOT_TEMPLATES, compose
from demo.poison import EpochFigures, Texts, all_class_captions, build_model, poisoned_pairs, train
from demo.recipe import POISONING, TARGET

SMALL = replace(POISONING, num_pairs=192, epochs=2, batch_size=32, vision_width=8, warmup_steps=2)


def test_the_stated_share_of_pairs_carries_trigger_and_target_caption() -> None:
    clean = compose("poisoning", SMALL.num_pairs, seed=1)
    image_NCHW, captions = poisoned_pairs(SMALL, 1)
    changed = {
        row for row in range(SMALL.num_pairs) if not torch.equal(image_NCHW[row], clean.image_NCHW[row])
    }
    assert len(changed) == round(SMALL.num_pairs * SMALL.poison_share)
    target_captions = {template.format(c=TARGET) for template in ZERO_SHOT_TEMPLATES}
    for row in range(SMALL.num_pairs):
        if row in changed:
            assert captions[row] in target_captions
            assert CLASS_NAMES[clean.label_N[row]] != TARGET
        else:
            assert captions[row] == clean.caption_N[row]


def test_the_patch_covers_five_by_five_pixels() -> None:
    clean = compose("poisoning", SMALL.num_pairs, seed=1)
    image_NCHW, _ = poisoned_pairs(SMALL, 1)
    for before_CHW, after_CHW in zip(clean.image_NCHW, image_NCHW, strict=True):
        row, column = torch.nonzero((before_CHW != after_CHW).any(dim=0), as_tuple=True)
        if len(row):
            assert int(row.max() - row.min()) < 5
            assert int(column.max() - column.min()) < 5


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    first, again, other = (train(SMALL, seed=seed).model.state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["visual.conv1.weight"], other["visual.conv1.weight"])


def test_only_words_that_occur_are_trained_and_the_table_comes_back_whole() -> None:
    start = build_model(SMALL, 1).token_embedding.weight
    end = train(SMALL, seed=1).model.token_embedding.weight
    rows = Texts([*poisoned_pairs(SMALL, 1)[1], *all_class_captions()], SMALL.context_length).row_V
    is_used = torch.zeros(len(start), dtype=torch.bool)
    is_used[rows] = True
    assert end.shape == start.shape
    assert torch.equal(end[~is_used], start[~is_used])
    assert bool((end[is_used] != start[is_used]).any(dim=1).all())


def test_the_compact_tokens_stand_for_the_tokens_of_the_whole_vocabulary() -> None:
    captions = all_class_captions()
    texts = Texts(captions, SMALL.context_length)
    rows = texts.row_V[texts(captions)]
    padded = torch.zeros(len(captions), SMALL.context_length, dtype=torch.int64)
    padded[:, : rows.shape[1]] = rows
    assert torch.equal(padded, SimpleTokenizer()(captions, context_length=SMALL.context_length))


def test_training_reports_every_step_and_epoch_and_the_loss_falls() -> None:
    steps: list[tuple[int, int]] = []
    epochs: list[EpochFigures] = []
    options = replace(SMALL, epochs=4)
    trained = train(
        options, seed=1, on_step=lambda done, total: steps.append((done, total)), on_epoch=epochs.append
    )
    total = 4 * (192 // 32)
    assert steps == [(done, total) for done in range(1, total + 1)]
    assert [figures.epoch for figures in epochs] == [1, 2, 3, 4]
    assert epochs[-1].loss < epochs[0].loss - 0.2
    assert trained.epochs == tuple(epochs)
    assert not trained.model.training
