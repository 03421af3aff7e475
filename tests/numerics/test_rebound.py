"""The rebound's figures against plain ones: a training written out, straight lines, and bounds that hold."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cleanclip.vocabulary.attack_options import BadNetOptions
from cleanclip.vocabulary.intervals import low_of_highest
from cleanclip.vocabulary.rebound_figures import (
    ReboundCurve,
    ReboundFigures,
    ReboundPoint,
    ReboundShare,
    Relearning,
    RelearningPoint,
)
from cleanclip.vocabulary.recipe import AuditOptions, CleanCLIPRecipe
from sanitizer.audits.interpolation import halve, move_back
from sanitizer.audits.rebound import Sample, draw_sample, measure_point
from sanitizer.audits.statistics import wilson
from sanitizer.checkpoints.model import load_canonical
from sanitizer.checkpoints.writing import write_canonical
from sanitizer.data.labelled import open_labelled
from sanitizer.data.pairs import open_pairs
from sanitizer.pipeline.rebound import benign_recipe
from sanitizer.training.distributed import World
from sanitizer.training.feeding import open_batches
from sanitizer.training.loop import Looks, finetune
from tests.fixtures.audited import CLASS_NAMES, TEMPLATES, labels, pictures, write_labelled, write_model
from tests.fixtures.shards import make_pairs
from tests.numerics import reference

CPU = torch.device("cpu")
ATTACK = BadNetOptions(pattern="yellow", size=0.4)
OPTIONS = AuditOptions(target=CLASS_NAMES[0], attacks=(ATTACK,))
RECIPE = CleanCLIPRecipe(batch_size=8, learning_rate=1e-3, weight_decay=0.1, max_grad_norm=None)
SEED, STEPS = 4, (2, 7)


def plain_training(folder: Path, pairs: Path, num_updates: int, out: Path) -> Path:
    """CLIP's loss and AdamW at a constant rate, in float64, by autograd and torch's own optimizer."""
    checkpoint = load_canonical(folder)
    recipe = benign_recipe(RECIPE, 2.0, 24)
    model, architecture = checkpoint.model.double().eval(), checkpoint.architecture
    mean, std = (
        torch.tensor(channels, dtype=torch.float64).view(1, 3, 1, 1)
        for channels in (architecture.image_mean, architecture.image_std)
    )
    matrices = [one for one in model.parameters() if one.ndim >= 2]
    others = [one for one in model.parameters() if one.ndim < 2]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}], lr=2e-3
    )
    batches = open_batches(
        checkpoint, open_pairs(pairs), recipe, seed=SEED, world=World(), num_workers=0, device=CPU
    )
    in_order = [batch for epoch in range(3) for batch in batches.epoch(epoch)]
    for batch in in_order[:num_updates]:
        image_ND, text_ND, scale = model((batch.image_NCHW.double() / 255 - mean) / std, batch.tokens_NL)
        logits_NN, label_N = scale * image_ND @ text_ND.T, torch.arange(len(image_ND))
        loss = (
            torch.nn.functional.cross_entropy(logits_NN, label_N)
            + torch.nn.functional.cross_entropy(logits_NN.T, label_N)
        ) / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    write_canonical(out, model.float().state_dict(), architecture, {"layout": "open_clip"})
    return out


def test_a_point_is_what_the_reference_measures_after_a_plain_training(tmp_path: Path) -> None:
    folder, labelled = write_model(tmp_path / "model"), write_labelled(tmp_path / "labelled")
    pairs = make_pairs(tmp_path / "pairs", 24)
    data = open_labelled(labelled)
    sample = Sample(
        labelled=data,
        indices=tuple(range(len(data))),
        seed=SEED,
        device=CPU,
        num_workers=0,
        stop=lambda: False,
    )
    copy, points = load_canonical(folder), []

    def look(step: int) -> None:
        points.append(measure_point(copy, OPTIONS, sample, step=step, after_share=lambda _: None))

    finetune(
        copy,
        open_pairs(pairs),
        benign_recipe(RECIPE, 2.0, 24),
        seed=SEED,
        device=CPU,
        looks=Looks(steps=STEPS, look=look),
    )
    for point in points:
        trained = plain_training(folder, pairs, point.step, tmp_path / f"plain-{point.step}")
        expected = reference.measure(
            trained,
            images=pictures(),
            labels=labels(),
            class_names=CLASS_NAMES,
            templates=TEMPLATES,
            target=OPTIONS.target,
            attack={"attack": "badnet", "pattern": "yellow", "placement": "random", "size": 0.4},
            seed=SEED,
        )
        counted = (point.ca, point.attacks[0].asr, point.attacks[0].untriggered_target_rate)
        for share, name in zip(counted, ("ca", "asr", "untriggered_target_rate"), strict=True):
            assert share.n == expected[name]["n"]
            assert abs(share.successes - expected[name]["successes"]) <= 1, name  # float32 near a tie


def points_of(shares: list[int], steps: list[int], n: int = 200) -> tuple[ReboundPoint, ...]:
    floor = wilson(1, n)
    return tuple(
        ReboundPoint(
            step=step,
            ca=wilson(n // 2, n),
            attacks=(ReboundShare(asr=wilson(share, n), untriggered_target_rate=floor),),
        )
        for step, share in zip(steps, shares, strict=True)
    )


def curve_of(shares: list[int], steps: list[int], n: int = 200) -> ReboundCurve:
    return ReboundCurve(rate=1.0, seed=0, points=points_of(shares, steps, n))


def updates_to_half(counts: list[tuple[int, int]], n: int) -> float | None:
    points = tuple(RelearningPoint(step=step, asr=wilson(count, n)) for step, count in counts)
    return Relearning(trigger_sha256="0" * 64, options={}, points=points).updates_to_half


@pytest.mark.parametrize("seed", range(20))
def test_areas_and_updates_to_half_are_those_of_straight_lines(seed: int) -> None:
    random = np.random.default_rng(seed)
    steps = [0, *np.cumsum(random.integers(1, 90, 6)).tolist()]
    shares = random.integers(0, 201, 7).tolist()
    fine = np.linspace(0, steps[-1], 400_001)
    height = np.interp(fine, steps, np.array(shares) / 200)
    (area,) = curve_of(shares, steps).areas
    assert area == pytest.approx(height.mean(), abs=2e-5)
    half = updates_to_half(list(zip(steps, shares, strict=True)), n=200)
    reached = np.flatnonzero(height >= 0.5)
    if len(reached) == 0:
        assert half is None
    else:
        assert half == pytest.approx(fine[reached[0]], abs=2 * steps[-1] / 400_000)


def test_a_curve_of_one_point_has_no_area_and_an_early_half_is_where_it_lies() -> None:
    assert curve_of([180], [0]).areas == (0.0,)
    assert updates_to_half([(0, 7), (10, 1)], n=10) == 0.0
    assert updates_to_half([(0, 1), (10, 5), (20, 2)], n=10) == 10.0
    assert updates_to_half([(0, 1), (10, 4)], n=10) is None


@pytest.mark.parametrize(("successes", "n", "num_points"), [(12, 300, 1), (12, 300, 8), (3, 1000, 40)])
def test_the_low_bound_of_the_highest_solves_the_score_equation_at_bonferronis_level(
    successes: int, n: int, num_points: int
) -> None:
    def upper_tail(z: float) -> float:
        return 0.5 * math.erfc(z / math.sqrt(2))

    low, high = 0.0, 10.0
    while high - low > 1e-13:
        z = (low + high) / 2
        low, high = (z, high) if upper_tail(z) > 0.025 / num_points else (low, z)
    share, bound = successes / n, low_of_highest(successes, n, num_points)
    assert (share - bound) ** 2 == pytest.approx(z * z * bound * (1 - bound) / n, rel=1e-9)
    curve = curve_of([successes] + [0] * (num_points - 1), list(range(num_points)), n)
    (found,) = ReboundFigures(num_samples=1, attacks=("badnet",), curves=(curve,)).highest
    assert (found.curve, found.step, found.num_points) == (0, 0, num_points)
    assert found.low == pytest.approx(bound, abs=1e-12)
    assert found.low <= found.asr.low + 1e-12
    assert (found.low == pytest.approx(found.asr.low)) == (num_points == 1)


@pytest.mark.parametrize("spread", [0.0, 0.004])
def test_the_bounds_of_the_highest_cover_the_highest_true_share(spread: float) -> None:
    """The upper one without a correction, even where all points are alike; the lower one with one."""
    random, n, num_points = np.random.default_rng(1), 1000, 8
    true = np.linspace(0.02 - spread, 0.02, num_points)
    highest_count = random.binomial(n, true, size=(4000, num_points)).max(axis=1)
    upper_misses = lower_misses = naive_misses = 0
    for count in highest_count.tolist():
        reported = wilson(count, n)
        upper_misses += reported.high < 0.02
        lower_misses += low_of_highest(count, n, num_points) > 0.02
        naive_misses += reported.low > 0.02
    assert upper_misses / 4000 <= 0.03
    assert lower_misses / 4000 <= 0.05
    if spread == 0.0:
        assert naive_misses / 4000 > 0.08  # why the choice of the point is paid for


def test_a_sample_is_drawn_once_from_the_images_that_were_measured() -> None:
    measured = [index for index in range(500) if index % 7]
    drawn = draw_sample(measured, 60, 3)
    assert len(drawn) == 60
    assert list(drawn) == sorted(set(drawn) & set(measured))
    assert drawn == draw_sample(measured, 60, 3) != draw_sample(measured, 60, 4)
    assert draw_sample(measured, 1000, 3) == tuple(measured)


def test_a_bf16_audit_is_measured_in_bf16(tmp_path: Path) -> None:
    folder, data = write_model(tmp_path / "model"), open_labelled(write_labelled(tmp_path / "labelled"))
    sample = Sample(
        labelled=data, indices=(1, 5, 9, 30), seed=0, device=CPU, num_workers=0, stop=lambda: False
    )
    options = replace(OPTIONS, precision="bf16", batch_size=3)
    point = measure_point(load_canonical(folder), options, sample, step=0, after_share=lambda _: None)
    assert point.ca.n == 4


def test_weights_on_the_way_back_are_a_plain_mean_of_both(tmp_path: Path) -> None:
    copy = load_canonical(write_model(tmp_path / "cleaned"))
    cleaned = {name: tensor.clone() for name, tensor in copy.model.state_dict().items()}
    shifted = {name: tensor + 1 if tensor.is_floating_point() else tensor for name, tensor in cleaned.items()}
    for share in (0.25, 1.0, 0.0):
        move_back(copy, cleaned, shifted, share)
        for name, tensor in copy.model.state_dict().items():
            old, new = cleaned[name].numpy().astype(np.float64), shifted[name].numpy().astype(np.float64)
            expected = (1 - share) * old + share * new if tensor.is_floating_point() else old
            np.testing.assert_allclose(tensor.numpy(), expected, atol=1e-6)
    assert all(torch.equal(tensor, cleaned[name]) for name, tensor in copy.model.state_dict().items())


def test_halving_finds_the_grid_point_that_a_full_grid_finds() -> None:
    thresholds, num_halvings, measured = (0.3, 0.0, 2.0, 0.82, 1.0), 4, []

    def at(share: float) -> ReboundPoint:
        measured.append(share)
        reached = [100 if share >= threshold else 20 for threshold in thresholds]
        shares = tuple(
            ReboundShare(asr=wilson(one, 200), untriggered_target_rate=wilson(1, 200)) for one in reached
        )
        return ReboundPoint(step=0, ca=wilson(150, 200), attacks=shares)

    found = halve(at, num_halvings)
    grid = [number / 2**num_halvings for number in range(2**num_halvings + 1)]
    expected = [next((share for share in grid if share >= threshold), None) for threshold in thresholds]
    assert list(found.to_half) == expected == [0.3125, 0.0, None, 0.875, 1.0]
    assert [point.share for point in found.points] == sorted(measured) == sorted(set(measured))
    assert len(measured) < len(grid)
    assert set(measured) <= set(grid)
