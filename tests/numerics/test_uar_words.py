"""UAR's term on the text tower: the loss and the inserted words against loops, a run with words against one
without.
"""

import math
from collections import Counter
from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError
from torch.nn.functional import normalize as unit

from cleanclip.vocabulary.errors import Interrupted, OptionsRejected
from cleanclip.vocabulary.progress import Advanced
from cleanclip.vocabulary.recipe import parse_recipe
from cleanclip.vocabulary.uar_recipe import UARRecipe
from sanitizer.checkpoints.model import LoadedCheckpoint
from sanitizer.checkpoints.text_tower import encode_text
from sanitizer.data.pairs import open_pairs
from sanitizer.methods.catalogue import build_method
from sanitizer.training.distributed import World
from sanitizer.training.fits import check_fits
from sanitizer.training.inserted_words import InsertedWords, with_words
from sanitizer.training.loop import finetune
from sanitizer.training.step import StepOptions, accumulate_gradients
from sanitizer.training.towers import frozen_towers, prepare
from tests.fixtures.shards import make_pairs
from tests.fixtures.tiny_clips import CONTEXT_LENGTH, VOCAB_SIZE, tiny_batch, tiny_checkpoint, tiny_clip
from tests.numerics import reference_training as reference
from tests.numerics.test_losses import unit_rows
from tests.numerics.test_uar import CPU, to_input

START, END = VOCAB_SIZE - 2, VOCAB_SIZE - 1
WORDS = ("bazar", "red nicol")
RECIPE = UARRecipe(
    epochs=3,
    strong_epochs=2,
    batch_size=4,
    learning_rate=1e-3,
    warmup_steps=2,
    inversion_steps=2,
    reinversion_steps=2,
    inverted_patches=1,
    inverted_blends=0,
    kept_change=0.75,
    max_grad_norm=0.5,
)


def plain_text_loss(images, before, texts, worded, scale):
    """The loss of the images and that of the texts, in plain loops."""
    total = reference.uar(images, before, texts, scale=scale, weight=5.0)
    return (
        total
        + reference.uar(worded, texts, None, scale=scale, weight=20.0)
        + reference.contrastive(before, worded, scale)
    )


def test_the_objective_equals_the_loops():
    images, worded, before, texts = (
        unit(unit_rows(n) + 0.3 * unit_rows(m), dim=-1) for n, m in ((1, 11), (2, 12), (1, 13), (2, 14))
    )
    method = build_method(UARRecipe(trigger_words=WORDS))
    scale = torch.tensor(21.0, dtype=torch.float64)
    losses = method.objective([images, worded, before, texts], scale)
    rows = [one.tolist() for one in (images, before, texts, worded)]
    assert losses.total.item() == pytest.approx(plain_text_loss(*rows, 21.0), rel=1e-12)
    assert losses.parts.keys() == {*method.parts}


@pytest.mark.parametrize("chunk_size", [None, 4])
def test_a_step_equals_open_clips_forward_and_plain_autograd(chunk_size):
    """Of both towers; the scale has no gradient."""
    model = tiny_clip("vit").double()
    teacher = frozen_towers(model)
    prepare(model, freeze_batch_norm_statistics=True)
    with torch.no_grad():
        for parameter in (*model.visual.parameters(), *model.transformer.parameters()):
            parameter.mul_(1.05)
    batch = tiny_batch(6)
    options = StepOptions(
        to_input=to_input,
        method=build_method(replace(RECIPE, trigger_words=WORDS)),
        input_model=teacher,
        chunk_size=chunk_size,
        max_grad_norm=None,
        towers_dtype=torch.float32,
    )
    losses = accumulate_gradients(model, batch, options, World())
    ours = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    images = unit(model.encode_image(to_input(batch.image_NCHW)), dim=-1)
    worded = unit(model.encode_text(batch.tokens_view_NL), dim=-1)
    with torch.no_grad():
        before = unit(teacher.encode_image(to_input(batch.image_NCHW)), dim=-1)
        texts = unit(teacher.encode_text(batch.tokens_NL), dim=-1)
    scale = model.logit_scale.exp().detach()
    total = sum(5.0 * (1 - images[j] @ before[j]) + 20.0 * (1 - worded[j] @ texts[j]) for j in range(6)) / 6
    for anchors, candidates in ((images, texts), (texts, images), (before, worded), (worded, before)):
        for j in range(6):
            logits = scale * (candidates @ anchors[j])
            total = total + 0.5 * (torch.logsumexp(logits, 0) - logits[j]) / 6
    assert losses.total.item() == pytest.approx(total.item(), rel=1e-6)
    total.backward()
    theirs = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert ours.keys() == theirs.keys()
    assert "logit_scale" not in ours
    for name, gradient in theirs.items():
        torch.testing.assert_close(ours[name], gradient, rtol=1e-5, atol=1e-8)


def plainly(caption, trigger, places, length):
    """With words put in from the last place to the first, so that no place moves."""
    room = length - 2 - sum(len(word) for word in trigger)
    text = [[token] for token in caption[:room]]
    order = sorted(range(len(trigger)), key=lambda n: math.floor(places[n] * (len(text) + 1)))
    gaps = [math.floor(places[n] * (len(caption[:room]) + 1)) for n in order]
    for n, gap in reversed(list(zip(order, gaps, strict=True))):
        text.insert(gap, list(trigger[n]))
    tokens = [START, *(token for part in text for token in part), END]
    return tokens + [0] * (length - len(tokens))


@pytest.mark.parametrize("num_tokens", [0, 1, 5, 8, 9, 10])
def test_words_are_inserted_between_tokens_and_a_caption_too_long_loses_its_last_tokens(num_tokens):
    """Ten tokens fill a text here: of the longest captions one to three are lost."""
    trigger, draws = ((50, 51), (52,)), torch.Generator().manual_seed(num_tokens)
    caption = list(range(1, num_tokens + 1))
    row = [START, *caption, END] + [0] * (CONTEXT_LENGTH - 2 - num_tokens)
    for _ in range(50):
        places = torch.rand(2, generator=draws).tolist()
        found = with_words(row, trigger, places)
        assert found == plainly(caption, trigger, places, CONTEXT_LENGTH)
        end = found.index(END)
        assert [token for token in found[1:end] if token < 50] == caption[:7]
        assert sorted(token for token in found[1:end] if token >= 50) == [50, 51, 52]
        assert found[0] == START
        assert not any(found[end + 1 :])
    assert with_words(row, trigger, (0.0, 0.0)).index(52) == 3
    assert with_words(row, trigger, (0.0, 0.999)).index(52) == 3 + min(num_tokens, 7)


def test_half_of_the_captions_get_one_of_the_triggers_and_ranks_share_what_one_process_draws():
    row = torch.tensor([START, 1, 2, 3, END] + [0] * (CONTEXT_LENGTH - 5))
    triggers = (((50,),), ((51,), (52,)))
    alone = InsertedWords(triggers=triggers, batch_size=2000, seed=3, world=World())
    found = alone.inserted(row.repeat(2000, 1), 7)
    counts = Counter((50 in one) + 2 * (51 in one and 52 in one) for one in found.tolist())
    assert 900 < counts[0] < 1100
    assert min(counts[1], counts[2]) > 420
    assert len(counts) == 3
    assert torch.equal(found, alone.inserted(row.repeat(2000, 1), 7))
    assert not torch.equal(found, alone.inserted(row.repeat(2000, 1), 8))
    for rank in range(2):
        shared = replace(alone, world=World(rank, 2)).inserted(row.repeat(1000, 1), 7)
        assert torch.equal(shared, found[rank::2])


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return open_pairs(make_pairs(tmp_path_factory.mktemp("pairs"), 22))


def run(pairs, recipe, *, tower="vit", **options):
    checkpoint = tiny_checkpoint(tower)
    return checkpoint.model, finetune(checkpoint, pairs, recipe, seed=5, device=CPU, **options)


@pytest.mark.parametrize("tower", ["vit", "resnet"])
def test_words_change_the_text_tower_and_no_bit_of_the_image_tower(pairs, tower):
    fresh = tiny_checkpoint(tower).model.state_dict()
    model, plain = run(pairs, RECIPE, tower=tower)
    without = model.state_dict()
    worded = run(pairs, replace(RECIPE, trigger_words=WORDS), tower=tower)
    weights = worded[0].state_dict()
    for name, before in fresh.items():
        if name.startswith("visual.") or name == "logit_scale":
            assert torch.equal(weights[name], without[name]), name
        else:
            assert torch.equal(without[name], before), name
    changed = {name for name in fresh if not torch.equal(weights[name], without[name])}
    assert {"token_embedding.weight", "text_projection", "positional_embedding"} <= changed
    for point, other in zip(worded[1].training.curve, plain.training.curve, strict=True):
        assert (point.loss_clip, point.loss_consistency) == (other.loss_clip, other.loss_consistency)
        text = point.loss_text_clip + 20 * point.loss_text_consistency
        assert point.loss == pytest.approx(other.loss + text, rel=1e-5)
        assert other.loss_text_clip is other.loss_text_consistency is None


@pytest.mark.parametrize("step", [1, 12])
def test_a_run_with_words_that_is_cut_ends_with_the_same_weights(pairs, tmp_path, step):
    recipe, done = replace(RECIPE, trigger_words=WORDS), [0]
    uncut = run(pairs, recipe)

    def progress(event):
        done[0] = event.done if isinstance(event, Advanced) else done[0]

    with pytest.raises(Interrupted):
        run(pairs, recipe, state_folder=tmp_path, progress=progress, stop=lambda: done[0] >= step)
    resumed = run(pairs, recipe, state_folder=tmp_path)
    assert resumed[1].training.resumed_from_steps == (step,)
    assert resumed[1].training.curve == uncut[1].training.curve
    for name, tensor in uncut[0].state_dict().items():
        assert torch.equal(resumed[0].state_dict()[name], tensor), name


def test_a_planted_word_no_longer_decides_what_a_text_means(pairs):
    """How many texts that are not the target's are nearest to it with the word, before and after."""
    checkpoint = tiny_checkpoint("vit")
    model, texts = checkpoint.model, [pairs.caption(index) for index in range(20)]
    clean, worded = (checkpoint.tokenize([start + text for text in texts]) for start in ("", "zz "))

    def embedded(tokens):
        return unit(encode_text(model, tokens), dim=-1)

    with torch.no_grad():
        own = embedded(clean)
    planting = torch.optim.Adam([p for n, p in model.named_parameters() if n[:6] != "visual"], lr=3e-3)
    for _ in range(60):
        planting.zero_grad()
        wrong = 2 - (embedded(worded) @ own[0]).mean() - (embedded(clean) * own).sum(dim=1).mean()
        wrong.backward()
        planting.step()

    def num_led_to_the_target():
        with torch.no_grad():
            return int(((embedded(worded)[1:] @ own.T).argmax(dim=1) == 0).sum())

    assert num_led_to_the_target() == 19
    recipe = replace(RECIPE, trigger_words=("zz",), epochs=30, learning_rate=3e-3, max_grad_norm=None)
    finetune(checkpoint, pairs, recipe, seed=5, device=CPU)
    assert num_led_to_the_target() <= 3


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("a b c d e",), "1 to 4 words"),
        ((" ",), "1 to 4 words"),
        (("Bazar", "bazar "), "differ"),
        (tuple("abcdefghi"), "at most 8"),
        (("",), "at least 1 character"),
    ],
)
def test_triggers_out_of_bounds_are_refused(words, problem):
    with pytest.raises(ValidationError, match=problem):
        parse_recipe({"method": "uar", "trigger_words": list(words)})


def test_words_without_captions_are_refused():
    with pytest.raises(ValueError, match="need captions"):
        UARRecipe(trigger_words=("bazar",), trained_on="images_of_pairs")


@pytest.mark.parametrize("word", ["<end_of_text>", "<start_of_text>", "a<end_of_text>", "\u0000", "a-" * 90])
def test_words_that_clips_tokenizer_cannot_insert_are_refused(word):
    """A start or end token would move where the text is read; a word too long leaves nothing of a caption."""
    checkpoint = tiny_checkpoint("vit")
    real = LoadedCheckpoint(
        model=checkpoint.model, architecture=checkpoint.architecture, weights_sha256=checkpoint.weights_sha256
    )
    with pytest.raises(OptionsRejected) as refused:
        check_fits(replace(RECIPE, trigger_words=("bazar", word)), real, 22)
    assert refused.value.code == "trigger_words_not_insertable"
    assert refused.value.where == "recipe.trigger_words.1"
