"""What changes a run of uar beside its options, and what measures a trigger's way through the layers."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import pytest
import torch
from torch.nn.functional import normalize

from cleanclip.spec.recipe import UARRecipe
from lab.reproduction import developing
from lab.reproduction.ablating import ablate, main_directions, take_out
from lab.reproduction.activations import layers_of
from lab.reproduction.development import MODELS, NONE, VARIANTS, Changes
from lab.reproduction.layers import moved
from lab.reproduction.variants import applied, pulled_back
from sanitizer.checkpoints.model import LoadedCheckpoint
from sanitizer.data.pairs import Pair, open_pairs
from sanitizer.data.pixels import to_model_pixels
from sanitizer.methods import uar
from sanitizer.methods.catalogue import build_method
from sanitizer.perturbations.additive import LowFrequency
from sanitizer.perturbations.patch import Patch
from sanitizer.training import loop
from sanitizer.training.batching import to_input
from sanitizer.training.loop import finetune
from sanitizer.training.pattern_pool import PatternPool
from tests.fixtures.shards import make_pairs
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


SHORT = UARRecipe(
    epochs=1, strong_epochs=0, batch_size=8, warmup_steps=1, inversion_steps=2, learning_rate=1e-3
)


def train(folder: Path, checkpoint: LoadedCheckpoint) -> list[float]:
    """The losses of a short run."""
    pairs = open_pairs(make_pairs(folder, 16))
    trained = finetune(checkpoint, pairs, SHORT, seed=1, device=torch.device("cpu"))
    return [point.loss for point in trained.training.curve]


def test_a_start_by_other_means_keeps_the_input_model_as_the_teacher(tmp_path, monkeypatch):
    checkpoint, taught = tiny_checkpoint("vit"), []
    given_before = copy.deepcopy(checkpoint.model).eval()
    objective = uar.objective
    monkeypatch.setattr(
        uar, "objective", lambda *args, **more: taught.append(args[0]) or objective(*args, **more)
    )
    with applied(Changes(starts_from="par"), checkpoint.model):
        with torch.no_grad():
            for parameter in checkpoint.model.visual.parameters():
                parameter.add_(0.05)
        train(tmp_path, checkpoint)
    image_NCHW = torch.stack([to_model_pixels(pair.image, IMAGE_SIZE) for pair in read_all(tmp_path)])
    with torch.no_grad():
        expected = normalize(given_before.encode_image(to_input(checkpoint)(image_NCHW)), dim=-1)
    assert torch.cdist(taught[0].before_ND, expected).min(dim=1).values.max() < 1e-4


def test_a_start_is_trained_outside_of_what_changes_the_run(tmp_path, monkeypatch):
    """Within, the teacher of the run would be the teacher of its start, too."""
    plain, teachers = loop._input_model, []
    for name in ("open_pairs", "write_cleaned", "_pairs"):
        monkeypatch.setattr(developing, name, lambda *given, **named: tmp_path)
    monkeypatch.setattr(developing, "load_canonical", lambda folder: tiny_checkpoint("vit"))
    for name in ("_start", "finetune"):
        monkeypatch.setattr(developing, name, lambda *given, **named: teachers.append(loop._input_model))
    developing.cleaned(MODELS[0], VARIANTS["uar from par"], tmp_path)
    start, run = teachers
    assert start is plain
    assert run is not plain


def read_all(folder: Path) -> list[Pair]:
    pairs = open_pairs(folder)
    return [pairs.read(index) for index in range(len(pairs))]


def test_half_of_cleanclips_term_of_images_is_added(tmp_path):
    images, views, before, texts = (unit_rows(seed) for seed in (1, 2, 3, 4))
    scale = torch.tensor(7.0, dtype=torch.float64)
    recipe = UARRecipe(consistency_weight=2.0)
    plain = build_method(recipe).objective([images, before, texts], scale)
    with applied(Changes(loss="with views")):
        losses = build_method(recipe).objective([images, views, before, texts], scale)
    rows = 7.0 * images @ views.T
    term = sum(
        math.log(sum(map(math.exp, row.tolist()))) - row[j].item() for j, row in enumerate(rows)
    ) / len(rows)
    assert losses.total.item() == pytest.approx(plain.total.item() + term / 2, rel=1e-9)
    with applied(Changes(loss="with views")):
        with_views = train(tmp_path / "views", tiny_checkpoint("resnet"))
    assert all(map(math.isfinite, with_views))
    assert with_views[0] > train(tmp_path / "plain", tiny_checkpoint("resnet"))[0]


def test_low_frequencies_stand_in_the_place_of_blends():
    with applied(Changes(blends="low frequencies")):
        pool = PatternPool(UARRecipe(), image_size=32, seed=1, device=torch.device("cpu"))
        inverted = pool.families_to_invert()
    assert [family for family in inverted if not isinstance(family, Patch)] == [LowFrequency(0.1)] * 4


def test_nothing_that_a_block_writes_has_a_part_along_what_was_taken_out():
    checkpoint = tiny_checkpoint("vit")
    direction = main_directions(torch.tensor([[3.0, 4.0] + 30 * [0.0], [0.0, 0.0, 1.0] + 29 * [0.0]]))
    assert direction.shape == (32, 1), "the second is 1/25 of the first, squared"
    torch.testing.assert_close(direction.abs().squeeze()[:2], torch.tensor([0.6, 0.8]))
    take_out(checkpoint.model, direction)
    *blocks, _ = layers_of(checkpoint, torch.rand(5, 3, IMAGE_SIZE, IMAGE_SIZE)).values()
    along = blocks[-1] @ direction.double()
    torch.testing.assert_close(along, along[:1].expand_as(along), rtol=0, atol=1e-6)


def test_an_ablation_changes_the_image_tower_alone(tmp_path):
    checkpoint, before = tiny_checkpoint("vit"), tiny_checkpoint("vit").model.state_dict()
    ablate(checkpoint, open_pairs(make_pairs(tmp_path, 16)), SHORT, seed=1)
    changed = {
        name for name, tensor in checkpoint.model.state_dict().items() if not tensor.equal(before[name])
    }
    written = {"attn.out_proj.weight", "mlp.c_proj.weight", "mlp.c_proj.bias"}  # attention's bias is 0 here
    assert {name.split(".", 4)[-1] for name in changed} == written
    assert all(name.startswith("visual.") for name in changed)
