"""PAR's objective, step and perturbation against loops and plain autograd; float64 throughout."""

import copy
import math

import numpy as np
import pytest
import torch

from cleanclip.vocabulary.recipe import PARRecipe
from sanitizer.augment.perturbation import Perturbation
from sanitizer.methods.catalogue import build_method
from sanitizer.methods.par import Embeddings, objective
from sanitizer.seeding import generator
from sanitizer.training import optimizer, towers
from sanitizer.training.distributed import World
from sanitizer.training.schedule import rate
from sanitizer.training.step import StepOptions, accumulate_gradients, take_step
from tests.fixtures.tiny_clips import tiny_batch, tiny_clip
from tests.numerics import reference_training as reference
from tests.numerics.test_losses import unit_rows


def to_input(image: torch.Tensor) -> torch.Tensor:
    return (image.to(torch.float64) / 255 - 0.45) / 0.27


def options(input_model, *, threshold: float = 4.0, **changes) -> StepOptions:
    values = {
        "to_input": to_input,
        "method": build_method(PARRecipe(threshold=threshold)),
        "input_model": input_model,
        "chunk_size": None,
        "max_grad_norm": None,
        "towers_dtype": torch.float32,
    }
    return StepOptions(**(values | changes))


def moved(tower: str):
    """A model in training, and the model that it was before its weights moved."""
    before = tiny_clip(tower).double().eval().requires_grad_(False)
    model = copy.deepcopy(before).requires_grad_(True)
    towers.prepare(model, freeze_batch_norm_statistics=True)
    with torch.no_grad():
        noise = torch.Generator().manual_seed(3)
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=noise, dtype=torch.float64))
    return model, before


def near() -> list[torch.Tensor]:
    """Images and captions near what they were, and what they were: distances well under 2."""
    rows = []
    for seed in (1, 2):
        before = unit_rows(seed)
        rows.append((torch.nn.functional.normalize(before + 0.3 * unit_rows(seed + 10), dim=-1), before))
    return [rows[0][0], rows[1][0], rows[0][1], rows[1][1]]


@pytest.mark.parametrize("threshold", [0.0, 0.08, 0.12, 2.15, 4.0])
def test_the_objective_equals_the_loops(threshold):
    rows = near()
    rows[1] = torch.nn.functional.normalize(rows[3] + 0.4 * unit_rows(9), dim=-1)
    losses = objective(Embeddings(*rows), torch.tensor(21.0, dtype=torch.float64), threshold=threshold)
    as_lists = [tensor.tolist() for tensor in rows]
    expected = reference.par(*as_lists, scale=21.0, threshold=threshold)
    assert losses.total.item() == pytest.approx(expected, rel=1e-12, abs=1e-12)
    assert losses.parts["distance_image"].item() == pytest.approx(
        reference.distance(as_lists[0], as_lists[2]), rel=1e-12
    )
    assert losses.parts["distance_text"].item() == pytest.approx(
        reference.distance(as_lists[1], as_lists[3]), rel=1e-12
    )


def test_the_cut_is_on_the_mean_of_the_batch_and_not_on_each_pair():
    """One pair far over the threshold, the mean under it: all pairs are pushed."""
    before = unit_rows(1)
    images = before.clone()
    images[0] = -before[0]  # |a - (-a)|^2 = 4, so the mean is 4 / 7
    rows = (images.requires_grad_(), unit_rows(2), before, unit_rows(2))
    losses = objective(Embeddings(*rows), torch.tensor(5.0, dtype=torch.float64), threshold=1.0)
    assert losses.parts["distance_image"].item() == pytest.approx(4 / 7)
    assert losses.parts["loss_push"].item() == pytest.approx(2 / 7)
    over = objective(Embeddings(*rows), torch.tensor(5.0, dtype=torch.float64), threshold=0.5)
    assert over.parts["loss_push"].item() == 0
    assert over.total.item() == over.parts["loss_clip"].item()


def test_under_the_threshold_the_gradient_pushes_away_and_over_it_only_clip_is_left():
    images, texts, images_before, texts_before = near()
    images, texts = images.requires_grad_(), texts.requires_grad_()
    scale = torch.tensor(5.0, dtype=torch.float64)

    def gradient(threshold: float) -> torch.Tensor:
        losses = objective(Embeddings(images, texts, images_before, texts_before), scale, threshold=threshold)
        return torch.autograd.grad(losses.total, images)[0]

    push = gradient(4.0) - gradient(0.0)
    torch.testing.assert_close(push, -(images - images_before).detach() / len(images))


def test_gradients_are_what_finite_differences_say_and_the_scale_has_none():
    rows = [tensor.clone().requires_grad_(index < 2) for index, tensor in enumerate(near())]
    scale = torch.tensor(5.0, dtype=torch.float64, requires_grad=True)

    def total(images: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
        return objective(Embeddings(images, texts, *rows[2:]), scale, threshold=2.0).total

    assert torch.autograd.gradcheck(total, (rows[0], rows[1]))
    assert torch.autograd.grad(total(rows[0], rows[1]), [scale], allow_unused=True) == (None,)


@pytest.mark.parametrize("chunk_size", [None, 4])
@pytest.mark.parametrize("tower", ["resnet", "vit"])
def test_a_step_equals_open_clips_forward_of_both_models_and_plain_autograd(tower, chunk_size):
    model, before = moved(tower)
    batch = tiny_batch(6)
    losses = accumulate_gradients(model, batch, options(before, chunk_size=chunk_size), World())
    ours = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    model.zero_grad()
    images, texts, scale = model(to_input(batch.image_NCHW), batch.tokens_NL)
    with torch.no_grad():
        images_before, texts_before, _ = before(to_input(batch.image_NCHW), batch.tokens_NL)
    rows = [tensor.tolist() for tensor in (images, texts, images_before, texts_before)]
    expected = reference.par(*rows, scale=scale.item(), threshold=4.0)
    assert losses.total.item() == pytest.approx(expected, rel=1e-10)
    total = torch.zeros((), dtype=torch.float64)
    for anchors, candidates in ((images, texts), (texts, images)):
        for j in range(6):
            logits = scale.detach() * (candidates @ anchors[j])
            total = total + 0.5 * (torch.logsumexp(logits, 0) - logits[j]) / 6
    for now, was in ((images, images_before), (texts, texts_before)):
        for j in range(6):
            total = total - 0.5 * ((now[j] - was[j]) ** 2).sum() / 6
    total.backward()
    theirs = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert ours.keys() == theirs.keys()
    assert "logit_scale" not in ours
    for name, gradient in theirs.items():
        torch.testing.assert_close(ours[name], gradient, rtol=1e-8, atol=1e-12)


def test_an_update_changes_neither_the_input_model_nor_the_logit_scale():
    model, before = moved("vit")
    kept = {name: tensor.clone() for name, tensor in before.state_dict().items()}
    scale = model.logit_scale.detach().clone()
    update = optimizer.build(model, PARRecipe(learning_rate=1e-5))
    first = take_step(model, update, tiny_batch(6), options(before), World())
    second = take_step(model, update, tiny_batch(6), options(before), World())
    assert second.loss < first.loss
    assert torch.equal(model.logit_scale, scale)
    assert all(torch.equal(tensor, kept[name]) for name, tensor in before.state_dict().items())


def test_the_rate_comes_down_from_the_initial_one_before_it_follows_the_cosine():
    recipe = PARRecipe(learning_rate=2e-6, initial_learning_rate=3e-5, push_share=0.25)
    method = build_method(recipe)
    expected = reference.learning_rates(2e-6, 5, 20, initial=3e-5)
    ours = [
        rate(
            step,
            recipe.learning_rate,
            initial=method.initial_rate,
            warmup_steps=method.warmup_steps(20),
            total_steps=20,
        )
        for step in range(20)
    ]
    assert ours == pytest.approx(expected, rel=1e-12)
    assert ours[0] > ours[3] > ours[4] == pytest.approx(2e-6)
    assert build_method(PARRecipe()).warmup_steps(2450) == 1225, "half of the run, as published"


def test_a_perturbation_equals_the_loops():
    image = generator(1, "image").integers(0, 256, (20, 30, 3)).astype(np.uint8)
    perturbation = Perturbation(noise_std=0.2, noise_probability=0.6, erase_probability=0.5, fill=(1, 2, 3))
    seen = set()
    for index in range(40):
        ours = perturbation.apply(image, generator(7, "perturbation", index))
        rng = generator(7, "perturbation", index)
        expected = image.astype(int).tolist()
        is_noisy = rng.random() < 0.6
        if is_noisy:
            noise = rng.normal(0.0, 0.2, (20, 30, 3))
            for row in range(20):
                for column in range(30):
                    for channel in range(3):
                        level = expected[row][column][channel] + 255 * noise[row, column, channel]
                        expected[row][column][channel] = min(255, max(0, int(np.rint(level))))
        is_erased = rng.random() < 0.5
        if is_erased:
            side = round(math.sqrt(rng.uniform(0.005, 0.01) * 20 * 30))
            top, left = int(rng.integers(0, 20 - side + 1)), int(rng.integers(0, 30 - side + 1))
            for row in range(top, top + side):
                for column in range(left, left + side):
                    expected[row][column] = [1, 2, 3]
        assert ours.tolist() == expected
        seen.add((bool(is_noisy), bool(is_erased)))
    assert len(seen) == 4
