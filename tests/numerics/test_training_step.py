"""One step against open_clip's own forward, loops, and plain autograd; float64 throughout unless stated."""

import math
from dataclasses import replace

import pytest
import torch

from cleanclip.vocabulary.recipe import CleanCLIPRecipe
from sanitizer.augment.images import draw_operations
from sanitizer.augment.tensor_images import augment_batch, encode
from sanitizer.checkpoints import text_tower
from sanitizer.methods.catalogue import build_method
from sanitizer.seeding import generator
from sanitizer.training import optimizer, towers
from sanitizer.training.distributed import World
from sanitizer.training.step import StepOptions, accumulate_gradients, take_step
from tests.fixtures.tiny_clips import tiny_batch, tiny_clip
from tests.numerics import reference_training as reference

MEAN, STD = 0.45, 0.27


def options(*, lambda1: float = 1.0, lambda2: float = 1.0, **changes) -> StepOptions:
    values = {
        "to_input": lambda image: (image.to(torch.float64) / 255 - MEAN) / STD,
        "method": build_method(CleanCLIPRecipe(lambda1=lambda1, lambda2=lambda2)),
        "chunk_size": None,
        "max_grad_norm": None,
        "towers_dtype": torch.float32,
    }
    return StepOptions(**(values | changes))


def prepared(tower: str, *, freeze: bool = True):
    model = tiny_clip(tower).double()
    towers.prepare(model, freeze_batch_norm_statistics=freeze)
    return model


def gradients_of(model) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def open_clip_embeddings(model, image, tokens):
    """By open_clip's own forward, padding and all."""
    image_features, text_features, scale = model(options().to_input(image), tokens)
    return image_features, text_features, scale


@pytest.mark.parametrize("tower", ["resnet", "vit"])
def test_the_loss_of_a_step_equals_open_clips_forward_and_the_loops(tower):
    model, batch = prepared(tower), tiny_batch(6)
    losses = accumulate_gradients(model, batch, options(lambda1=0.8, lambda2=1.7), World())
    with torch.no_grad():
        images, texts, scale = open_clip_embeddings(model, batch.image_NCHW, batch.tokens_NL)
        image_views, text_views, _ = open_clip_embeddings(model, batch.image_view_NCHW, batch.tokens_view_NL)
    rows = [tensor.tolist() for tensor in (images, texts, image_views, text_views)]
    expected = reference.cleanclip(*rows, scale=scale.item(), lambda1=0.8, lambda2=1.7)
    assert losses.total.item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("tower", ["resnet", "vit"])
def test_the_gradient_of_a_step_equals_plain_autograd_through_the_whole_graph(tower):
    model, batch = prepared(tower), tiny_batch(6)
    accumulate_gradients(model, batch, options(lambda1=0.8, lambda2=1.7), World())
    ours = gradients_of(model)

    model.zero_grad()
    images, texts, scale = open_clip_embeddings(model, batch.image_NCHW, batch.tokens_NL)
    image_views, text_views, _ = open_clip_embeddings(model, batch.image_view_NCHW, batch.tokens_view_NL)
    total = torch.zeros((), dtype=torch.float64)
    pairs = [
        (images, texts, 0.4),
        (texts, images, 0.4),
        (images, image_views, 0.85),
        (texts, text_views, 0.85),
    ]
    for anchors, candidates, weight in pairs:
        for j in range(6):
            logits = scale * (candidates @ anchors[j])
            total = total + weight * (torch.logsumexp(logits, 0) - logits[j]) / 6
    total.backward()
    theirs = gradients_of(model)

    assert ours.keys() == theirs.keys()
    for name, gradient in theirs.items():
        torch.testing.assert_close(
            ours[name], gradient, rtol=1e-8, atol=1e-12, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize("chunk_size", [1, 2, 4, 5])
@pytest.mark.parametrize("tower", ["resnet", "vit"])
def test_chunks_with_cached_embeddings_give_the_gradient_of_the_whole_batch(tower, chunk_size):
    model, batch = prepared(tower), tiny_batch(6)
    whole_loss = accumulate_gradients(model, batch, options(), World()).total
    whole = gradients_of(model)
    model.zero_grad()
    chunked_loss = accumulate_gradients(model, batch, options(chunk_size=chunk_size), World()).total
    torch.testing.assert_close(chunked_loss, whole_loss, rtol=1e-12, atol=0)
    for name, gradient in gradients_of(model).items():
        torch.testing.assert_close(gradient, whole[name], rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("chunk_size", [None, 4])
def test_views_made_from_operations_are_those_that_come_as_pixels(chunk_size):
    drawn = encode([draw_operations(generator(1, "image_view", 0, number)) for number in range(6)])
    batch = tiny_batch(6)
    pixels = replace(batch, image_view_NCHW=augment_batch(batch.image_NCHW, drawn))
    operations = replace(batch, image_view_NCHW=None, operation_N2=drawn)
    one, other = (
        accumulate_gradients(prepared("resnet"), given, options(chunk_size=chunk_size), World())
        for given in (pixels, operations)
    )
    assert torch.equal(one.total, other.total)


def test_without_self_supervision_the_views_are_never_looked_at():
    model, batch = prepared("resnet"), tiny_batch(6)
    calls = []
    model.visual.register_forward_pre_hook(lambda _, inputs: calls.append(len(inputs[0])))
    losses = accumulate_gradients(model, batch, options(lambda2=0.0), World())
    assert calls == [6]
    with torch.no_grad():
        images, texts, scale = open_clip_embeddings(model, batch.image_NCHW, batch.tokens_NL)
    expected = reference.contrastive(images.tolist(), texts.tolist(), scale.item())
    assert losses.total.item() == pytest.approx(expected, rel=1e-10)
    assert losses.parts["loss_self_supervised"].item() == 0


def test_without_the_clip_term_the_step_still_trains_both_towers():
    model = prepared("resnet")
    losses = accumulate_gradients(model, tiny_batch(6), options(lambda1=0.0), World())
    gradients = gradients_of(model)
    assert losses.total.item() == pytest.approx(losses.parts["loss_self_supervised"].item())
    assert losses.parts["loss_clip"].item() > 0
    assert gradients["visual.conv1.weight"].abs().max() > 0
    assert gradients["text_projection"].abs().max() > 0


@pytest.mark.parametrize("freeze", [True, False])
def test_batch_norm_statistics_move_only_when_they_are_not_frozen(freeze):
    model = prepared("resnet", freeze=freeze)
    before = {name: buffer.clone() for name, buffer in model.named_buffers() if "running" in name}
    weight = model.visual.bn1.weight.detach().clone()
    update = optimizer.build(model, CleanCLIPRecipe(learning_rate=1e-3))
    take_step(model, update, tiny_batch(6), options(), World())
    after = dict(model.named_buffers())
    assert len(before) >= 2
    assert all(torch.equal(after[name], buffer) == freeze for name, buffer in before.items())
    assert not torch.equal(model.visual.bn1.weight, weight)


def test_an_update_equals_adamw_written_out_with_decay_on_matrices_only():
    model = prepared("vit")
    recipe = CleanCLIPRecipe(learning_rate=1e-3, weight_decay=0.2, beta1=0.8, beta2=0.95, epsilon=1e-6)
    update = optimizer.build(model, recipe)
    expected = {name: p.detach().clone() for name, p in model.named_parameters()}
    first = {name: torch.zeros_like(p) for name, p in expected.items()}
    second = {name: torch.zeros_like(p) for name, p in expected.items()}
    for count in (1, 2, 3):
        take_step(model, update, tiny_batch(6, seed=count), options(), World())
        for name, parameter in model.named_parameters():
            gradient = parameter.grad
            decay = 0.2 if parameter.ndim >= 2 else 0.0
            first[name] = 0.8 * first[name] + 0.2 * gradient
            second[name] = 0.95 * second[name] + 0.05 * gradient**2
            mean, spread = first[name] / (1 - 0.8**count), second[name] / (1 - 0.95**count)
            expected[name] = expected[name] * (1 - 1e-3 * decay) - 1e-3 * mean / (spread.sqrt() + 1e-6)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.detach(), expected[name], rtol=1e-9, atol=1e-12)
    assert optimizer.is_decayed(model.token_embedding.weight)
    undecayed = [name for name, p in model.named_parameters() if not optimizer.is_decayed(p)]
    assert {"logit_scale", "ln_final.weight", "ln_final.bias", "visual.class_embedding"} <= set(undecayed)
    assert all("weight" not in name or "ln" in name for name in undecayed)


def test_the_gradient_is_clipped_to_its_norm():
    loose, tight = prepared("vit"), prepared("vit")
    for model, bound in ((loose, None), (tight, 0.01)):
        update = optimizer.build(model, CleanCLIPRecipe(learning_rate=1e-9))
        result = take_step(model, update, tiny_batch(6), options(max_grad_norm=bound), World())
    whole = {name: p.grad for name, p in loose.named_parameters()}
    norm = math.sqrt(math.fsum(float((g**2).sum()) for g in whole.values()))
    assert norm > 0.01
    assert result.grad_norm == pytest.approx(norm, rel=1e-9)
    for name, parameter in tight.named_parameters():
        torch.testing.assert_close(parameter.grad, whole[name] * (0.01 / norm), rtol=1e-4, atol=1e-12)


@pytest.mark.parametrize(("start", "end"), [(math.log(100) + 2, math.log(100)), (-1.0, 0.0)])
def test_the_logit_scale_is_clamped_between_1_and_100(start, end):
    model = prepared("vit")
    with torch.no_grad():
        model.logit_scale.fill_(start)
    take_step(model, optimizer.build(model, CleanCLIPRecipe()), tiny_batch(4), options(), World())
    assert model.logit_scale.item() == pytest.approx(end, abs=1e-15)


def test_a_step_that_is_not_finite_leaves_the_weights_alone():
    model = prepared("vit")
    with torch.no_grad():
        model.visual.proj[0, 0] = math.nan
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    result = take_step(model, optimizer.build(model, CleanCLIPRecipe()), tiny_batch(4), options(), World())
    assert not result.is_finite
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.detach(), before[name], rtol=0, atol=0, equal_nan=True)


def test_bf16_towers_stay_near_float32_and_keep_float32_embeddings_and_gradients():
    def as_float32(image):
        return (image.to(torch.float32) / 255 - MEAN) / STD

    losses = []
    for dtype in (torch.float32, torch.bfloat16):
        model = tiny_clip("vit")
        towers.prepare(model, freeze_batch_norm_statistics=True)
        step = options(to_input=as_float32, towers_dtype=dtype)
        losses.append(accumulate_gradients(model, tiny_batch(16), step, World()).total)
        assert all(p.grad.dtype == torch.float32 for p in model.parameters())
    assert losses[0].dtype == losses[1].dtype == torch.float32
    assert losses[0].item() != losses[1].item()
    assert losses[1].item() == pytest.approx(losses[0].item(), rel=0.02)


@pytest.mark.parametrize("tower", ["resnet", "vit"])
def test_cutting_the_padding_changes_nothing(tower):
    model, tokens = prepared(tower), tiny_batch(9).tokens_NL
    cut = text_tower.cut_padding(model, tokens)
    assert cut.shape[1] < tokens.shape[1]
    with torch.no_grad():
        torch.testing.assert_close(
            text_tower.encode_text(model, cut), model.encode_text(tokens), rtol=1e-12, atol=1e-12
        )


def test_the_padding_stays_where_the_tower_is_not_causal():
    model, tokens = prepared("vit"), tiny_batch(9).tokens_NL
    model.attn_mask = None
    assert text_tower.cut_padding(model, tokens) is tokens
