"""Supervised fine-tuning against loops and plain autograd; float64 throughout."""

import pytest
import torch

from cleanclip.vocabulary.recipe import SupervisedRecipe
from sanitizer.data.batches import PairBatch
from sanitizer.methods.catalogue import build_method
from sanitizer.methods.supervised import Embeddings, objective
from sanitizer.training import optimizer, towers
from sanitizer.training.distributed import World
from sanitizer.training.step import StepOptions, accumulate_gradients, take_step
from tests.fixtures.tiny_clips import tiny_batch, tiny_clip
from tests.numerics import reference_training as reference
from tests.numerics.test_losses import unit_rows

LABELS = [2, 0, 1, 1, 2, 0, 2]


def to_input(image: torch.Tensor) -> torch.Tensor:
    return (image.to(torch.float64) / 255 - 0.45) / 0.27


def labelled_batch(num_images: int):
    """The tiny batch with labels where captions were."""
    batch = tiny_batch(num_images)
    return PairBatch(image_NCHW=batch.image_NCHW, tokens_NL=torch.tensor([LABELS[:num_images]]).T)


def options(class_CD: torch.Tensor, **changes) -> StepOptions:
    values = {
        "to_input": to_input,
        "method": build_method(SupervisedRecipe()),
        "class_CD": class_CD,
        "chunk_size": None,
        "max_grad_norm": None,
        "towers_dtype": torch.float32,
    }
    return StepOptions(**(values | changes))


def prepared(tower: str):
    model = tiny_clip(tower).double()
    towers.prepare(model, freeze_batch_norm_statistics=True)
    width = model(to_input(tiny_batch(1).image_NCHW), tiny_batch(1).tokens_NL)[0].shape[1]
    rows = torch.randn(3, width, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    return model, torch.nn.functional.normalize(rows, dim=-1)


def test_the_objective_equals_the_loops():
    images, classes = unit_rows(1), unit_rows(2)[:3]
    losses = objective(
        Embeddings(images, torch.tensor(LABELS), classes), torch.tensor(17.0, dtype=torch.float64)
    )
    expected = reference.classification(images.tolist(), LABELS, classes.tolist(), 17.0)
    assert losses.total.item() == pytest.approx(expected, rel=1e-12)
    assert losses.parts == {}


@pytest.mark.parametrize("chunk_size", [None, 4])
@pytest.mark.parametrize("tower", ["resnet", "vit"])
def test_a_step_equals_open_clips_forward_and_plain_autograd_and_reaches_the_image_tower_only(
    tower, chunk_size
):
    model, class_CD = prepared(tower)
    batch = labelled_batch(6)
    losses = accumulate_gradients(model, batch, options(class_CD, chunk_size=chunk_size), World())
    ours = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    model.zero_grad()
    images, _, scale = model(to_input(batch.image_NCHW), tiny_batch(6).tokens_NL)
    expected = reference.classification(images.tolist(), LABELS[:6], class_CD.tolist(), scale.item())
    assert losses.total.item() == pytest.approx(expected, rel=1e-10)
    total = torch.zeros((), dtype=torch.float64)
    for j in range(6):
        logits = scale.detach() * (class_CD @ images[j])
        total = total + (torch.logsumexp(logits, 0) - logits[LABELS[j]]) / 6
    total.backward()
    theirs = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert ours.keys() == theirs.keys()
    assert all(name.startswith("visual.") for name in ours)
    for name, gradient in theirs.items():
        torch.testing.assert_close(ours[name], gradient, rtol=1e-8, atol=1e-12)


def test_an_update_leaves_the_text_tower_and_the_scale_as_they_were():
    model, class_CD = prepared("vit")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    update = optimizer.build(model, SupervisedRecipe(learning_rate=1e-3, weight_decay=0.5))
    first = take_step(model, update, labelled_batch(6), options(class_CD), World())
    second = take_step(model, update, labelled_batch(6), options(class_CD), World())
    assert second.loss < first.loss
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed
    assert all(name.startswith("visual.") for name in changed)
