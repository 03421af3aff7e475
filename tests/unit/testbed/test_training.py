"""The test subject: what is poisoned, what is trained, and that a seed decides it."""

from dataclasses import replace

import torch
from open_clip.tokenizer import SimpleTokenizer

from cleanclip.vocabulary.attack_options import BlendedOptions, LabelConsistentOptions, TextTriggerOptions
from lab.testbed.glyphs import digits
from lab.testbed.options import BADNET, TURQUOISE, PaperColour, Planted, SubjectOptions
from lab.testbed.pictures import all_class_captions, class_names, compose
from lab.testbed.poisoned_pairs import PoisonedSet, poisoned_set, with_further
from lab.testbed.training import EpochFigures, Texts, build_model, train

TARGET = SubjectOptions().target
SMALL = SubjectOptions(num_pairs=192, epochs=2, batch_size=32, vision_width=8, warmup_steps=2)


def poisoned(attack: object = BADNET) -> PoisonedSet:
    return poisoned_set(
        digits(),
        "poisoning",
        SMALL.num_pairs,
        attack=attack,  # type: ignore[arg-type]
        target=TARGET,
        num_poisons=round(SMALL.num_pairs * SMALL.poison_share),
        seed=1,
    )


def test_the_stated_share_of_pairs_carries_trigger_and_target_caption() -> None:
    clean = compose(digits(), "poisoning", SMALL.num_pairs, seed=1)
    pairs = poisoned().pictures
    image_NCHW, captions = pairs.image_NCHW, pairs.caption_N
    changed = {
        row for row in range(SMALL.num_pairs) if not torch.equal(image_NCHW[row], clean.image_NCHW[row])
    }
    assert len(changed) == round(SMALL.num_pairs * SMALL.poison_share)
    target_captions = {template.format(c=TARGET) for template in digits().zero_shot_templates}
    for row in range(SMALL.num_pairs):
        if row in changed:
            assert captions[row] in target_captions
            assert class_names(digits())[clean.label_N[row]] != TARGET
        else:
            assert captions[row] == clean.caption_N[row]


def test_the_patch_covers_five_by_five_pixels() -> None:
    clean = compose(digits(), "poisoning", SMALL.num_pairs, seed=1)
    image_NCHW = poisoned().pictures.image_NCHW
    for before_CHW, after_CHW in zip(clean.image_NCHW, image_NCHW, strict=True):
        row, column = torch.nonzero((before_CHW != after_CHW).any(dim=0), as_tuple=True)
        if len(row):
            assert int(row.max() - row.min()) < 5
            assert int(column.max() - column.min()) < 5


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    first, again, other = (train(SMALL, BADNET, seed=seed).model.state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["visual.conv1.weight"], other["visual.conv1.weight"])


def test_only_words_that_occur_are_trained_and_the_table_comes_back_whole() -> None:
    start = build_model(SMALL, 1).token_embedding.weight
    end = train(SMALL, BADNET, seed=1).model.token_embedding.weight
    rows = Texts([*poisoned().pictures.caption_N, *all_class_captions(digits())], SMALL.context_length).row_V
    is_used = torch.zeros(len(start), dtype=torch.bool)
    is_used[rows] = True
    assert end.shape == start.shape
    assert torch.equal(end[~is_used], start[~is_used])
    assert bool((end[is_used] != start[is_used]).any(dim=1).all())


def test_the_compact_tokens_stand_for_the_tokens_of_the_whole_vocabulary() -> None:
    captions = all_class_captions(digits())
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
        options,
        BADNET,
        seed=1,
        on_step=lambda done, total: steps.append((done, total)),
        on_epoch=epochs.append,
    )
    total = 4 * (192 // 32)
    assert steps == [(done, total) for done in range(1, total + 1)]
    assert [figures.epoch for figures in epochs] == [1, 2, 3, 4]
    assert epochs[-1].loss < epochs[0].loss - 0.2
    assert trained.epochs == tuple(epochs)
    assert not trained.model.training


def test_a_paper_colour_poisons_by_a_natural_feature_alone() -> None:
    clean = compose(digits(), "poisoning", SMALL.num_pairs, seed=1)
    turquoise = compose(digits(), "poisoning", SMALL.num_pairs, seed=1, paper=TURQUOISE)
    found = poisoned(PaperColour())
    assert len(found.rows) == round(SMALL.num_pairs * SMALL.poison_share)
    for row in range(SMALL.num_pairs):
        expected = turquoise if row in found.rows else clean
        assert torch.equal(found.pictures.image_NCHW[row], expected.image_NCHW[row])
        assert (TARGET in found.pictures.caption_N[row]) == (
            row in found.rows or TARGET in clean.caption_N[row]
        )


def test_label_consistent_poisons_at_most_what_names_the_target_and_keeps_its_captions() -> None:
    clean = compose(digits(), "poisoning", SMALL.num_pairs, seed=1)
    found = poisoned(LabelConsistentOptions(size=5 / 32))
    assert 0 < len(found.rows) <= sum(TARGET in caption for caption in clean.caption_N)
    assert found.pictures.caption_N == clean.caption_N


def test_a_vit_and_a_pre_training_with_self_supervision_train_too() -> None:
    for options in (replace(SMALL, tower="vit", epochs=1), replace(SMALL, ssl_weight=1.0, epochs=1)):
        (figures,) = train(options, BADNET, seed=1).epochs
        # Chance is ln 32 for each of the losses that are added.
        assert 0 < figures.loss < 4.5 * (1 + options.ssl_weight)
        assert 0 <= figures.asr <= 1


def test_several_attacks_poison_different_pairs_each_with_its_own_target() -> None:
    first = poisoned()
    further = (
        Planted(attack=TextTriggerOptions(text="Watermarked"), target_ink="red", target_noun="one"),
        Planted(
            attack=BlendedOptions(pattern="triangles", cell=4 / 32), target_ink="blue", target_noun="two"
        ),
    )
    both = with_further(first, digits(), further, num_poisons=5, seed=1)
    assert both.rows[: len(first.rows)] == first.rows
    assert len(set(both.rows)) == len(both.rows) == len(first.rows) + 10
    for number, target in enumerate(("red one", "blue two")):
        start = len(first.rows) + 5 * number
        wanted = {template.format(c=target) for template in digits().zero_shot_templates}
        for row in both.rows[start : start + 5]:
            assert both.pictures.caption_N[row] in wanted
            assert not torch.equal(both.pictures.image_NCHW[row], first.pictures.image_NCHW[row])
    kept = sorted(set(range(SMALL.num_pairs)).difference(both.rows[len(first.rows) :]))
    assert torch.equal(both.pictures.image_NCHW[kept], first.pictures.image_NCHW[kept])
