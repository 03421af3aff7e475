"""What changes a run of uar beside its options, and what measures a trigger's way through the layers."""

from __future__ import annotations

import math

import pytest
import torch

from cleanclip.spec.recipe import UARRecipe
from lab.reproduction.development import NONE, Changes
from lab.reproduction.layers import layers_of, moved
from lab.reproduction.variants import applied, pulled_back
from sanitizer.methods import uar
from sanitizer.methods.catalogue import build_method
from tests.fixtures.tiny_clips import IMAGE_SIZE, tiny_checkpoint
from tests.numerics.test_losses import unit_rows


def test_a_change_holds_within_its_block_only() -> None:
    before = uar.objective
    with applied(Changes(loss="similarities")):
        assert uar.objective is not before
    assert uar.objective is before
    with applied(NONE):
        assert uar.objective is before


def test_the_divergence_of_similarities_equals_the_loops() -> None:
    images, before, texts = unit_rows(1), unit_rows(11), unit_rows(2)
    scale = torch.tensor(7.0, dtype=torch.float64)
    with applied(Changes(loss="similarities")):
        losses = build_method(UARRecipe(consistency_weight=2.0)).objective([images, before, texts], scale)

    def shares(logits: list[float]) -> list[float]:
        total = sum(map(math.exp, logits))
        return [math.exp(one) / total for one in logits]

    def divergence(row: int, by_image: bool) -> float:
        def logits(embedded: torch.Tensor) -> list[float]:
            table = 7.0 * embedded @ texts.T
            return (table[row] if by_image else table[:, row]).tolist()

        pairs = zip(shares(logits(before)), shares(logits(images)), strict=True)
        return sum(wanted * math.log(wanted / got) for wanted, got in pairs)

    rows = range(len(images))
    expected = sum(divergence(row, by_image) for row in rows for by_image in (True, False)) / 2 / len(images)
    assert losses.parts["loss_consistency"].item() == pytest.approx(expected, rel=1e-9)
    assert losses.total.item() == pytest.approx(2 * expected + losses.parts["loss_clip"].item(), rel=1e-9)


def test_weights_are_pulled_back_by_a_share_of_the_way() -> None:
    cleaned, source = tiny_checkpoint("resnet"), tiny_checkpoint("resnet")
    with torch.no_grad():
        for parameter in cleaned.model.parameters():
            parameter.add_(1.0)
    pulled_back(cleaned, source, 0.75)
    for ours, theirs in zip(cleaned.model.parameters(), source.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs + 0.75)


@pytest.mark.parametrize("tower", ["resnet", "vit"])
def test_every_block_and_the_unit_embedding_is_a_layer(tower: str) -> None:
    checkpoint = tiny_checkpoint(tower)
    layers = layers_of(checkpoint, torch.rand(3, 3, IMAGE_SIZE, IMAGE_SIZE))
    *names, last = layers
    assert names == [str(number) for number in range(1, len(names) + 1)]
    assert last == "embedding"
    assert all(len(rows) == 3 for rows in layers.values())
    torch.testing.assert_close(layers[last].norm(dim=1), torch.ones(3, dtype=torch.float64))


def test_a_trigger_moves_an_image_by_a_share_of_the_distance_of_two_images() -> None:
    clean = torch.randn(40, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    between = [(clean[i] - clean[j]).square().sum() for i in range(40) for j in range(40) if i != j]
    step = torch.full((5,), 0.3, dtype=torch.float64)
    value, low, high = moved(clean, clean + step)
    assert value == pytest.approx(step.square().sum().item() / (sum(between).item() / len(between)))
    assert low < value < high
    assert moved(clean, clean)[0] == 0
