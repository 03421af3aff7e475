"""Losses against float64 loops; tolerances are those of float64 arithmetic unless stated."""

import pytest
import torch

from sanitizer.methods.cleanclip import Embeddings, objective
from sanitizer.methods.losses import contrastive, matching
from tests.numerics import reference_training as reference

NUM_PAIRS, WIDTH = 7, 5


def unit_rows(seed: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    rows = torch.randn(NUM_PAIRS, WIDTH, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.normalize(rows, dim=-1).to(dtype)


@pytest.mark.parametrize("scale", [1.0, 14.3, 100.0])
def test_the_symmetric_loss_equals_the_loops(scale):
    a, b = unit_rows(1), unit_rows(2)
    ours = contrastive(a, b, torch.tensor(scale, dtype=torch.float64))
    assert ours.item() == pytest.approx(reference.contrastive(a.tolist(), b.tolist(), scale), rel=1e-12)


def test_matching_is_one_direction_only():
    a, b = unit_rows(1), unit_rows(2)
    scale = torch.tensor(20.0, dtype=torch.float64)
    forth, back = matching(a, b, scale).item(), matching(b, a, scale).item()
    assert forth == pytest.approx(reference.one_way(a.tolist(), b.tolist(), 20.0), rel=1e-12)
    assert back == pytest.approx(reference.one_way(b.tolist(), a.tolist(), 20.0), rel=1e-12)
    assert abs(forth - back) > 1e-3


@pytest.mark.parametrize(("lambda1", "lambda2"), [(1.0, 1.0), (0.5, 4.0), (0.0, 2.0), (3.0, 0.0)])
def test_the_objective_of_cleanclip_equals_the_loops(lambda1, lambda2):
    images, texts, image_views, text_views = (unit_rows(seed) for seed in range(4))
    scale = torch.tensor(33.0, dtype=torch.float64)
    losses = objective(
        Embeddings(images, texts, image_views, text_views), scale, lambda1=lambda1, lambda2=lambda2
    )
    rows = [tensor.tolist() for tensor in (images, texts, image_views, text_views)]
    assert losses.total.item() == pytest.approx(
        reference.cleanclip(*rows, scale=33.0, lambda1=lambda1, lambda2=lambda2), rel=1e-12, abs=1e-12
    )
    assert losses.parts["loss_clip"].item() == pytest.approx(
        reference.contrastive(rows[0], rows[1], 33.0), rel=1e-12
    )


def test_half_precision_embeddings_are_compared_in_float32():
    images, texts = unit_rows(1, torch.bfloat16), unit_rows(2, torch.bfloat16)
    loss = contrastive(images, texts, torch.tensor(50.0))
    assert loss.dtype == torch.float32
    expected = contrastive(images.float(), texts.float(), torch.tensor(50.0))
    torch.testing.assert_close(loss, expected, rtol=0, atol=0)


def test_gradients_reach_negatives_and_views_and_scale_as_finite_differences_say():
    rows = [unit_rows(seed).requires_grad_() for seed in range(4)]
    scale = torch.tensor(5.0, dtype=torch.float64, requires_grad=True)

    def total(*inputs: torch.Tensor) -> torch.Tensor:
        return objective(Embeddings(*inputs[:4]), inputs[4], lambda1=0.7, lambda2=1.3).total

    assert torch.autograd.gradcheck(total, (*rows, scale))
    gradients = torch.autograd.grad(total(*rows, scale), rows)
    assert all(bool((gradient != 0).any(dim=1).all()) for gradient in gradients)


def test_views_may_be_missing_only_without_self_supervision():
    images, texts = unit_rows(1), unit_rows(2)
    scale = torch.tensor(5.0, dtype=torch.float64)
    assert (
        objective(Embeddings(images, texts), scale, lambda1=1, lambda2=0).parts["loss_self_supervised"].item()
        == 0
    )
    with pytest.raises(ValueError, match="views"):
        objective(Embeddings(images, texts), scale, lambda1=1, lambda2=1)


def test_a_term_without_weight_sends_no_gradient():
    images, texts, image_views, text_views = (unit_rows(seed).requires_grad_() for seed in range(4))
    scale = torch.tensor(5.0, dtype=torch.float64)
    losses = objective(Embeddings(images, texts, image_views, text_views), scale, lambda1=0, lambda2=1)
    assert not losses.parts["loss_clip"].requires_grad
    losses.total.backward()
    expected = matching(images.detach().requires_grad_(), image_views.detach(), scale) / 2
    assert losses.parts["loss_self_supervised"].item() > expected.item() > 0
    assert images.grad is not None
