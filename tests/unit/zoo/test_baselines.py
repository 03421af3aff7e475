"""The published detectors on a constructed encoder whose backdoor is known: one pixel, one class."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.nn.functional import normalize

from lab.zoo.baselines import decree, mm_bd, neural_cleanse
from lab.zoo.baselines.masks import Weights
from sanitizer.scans.subject import Subject

NUM_CLASSES, SIZE, TARGET = 8, 6, 5


def _encoder(strength: float, bias: float) -> Callable[[Tensor], Tensor]:
    """Random projections of the image, and one direction more: how red the upper left 2×2 pixels are.

    `bias` is a part that no image changes: it keeps margins from their limit.
    """
    weight = torch.from_numpy(np.random.default_rng(1).normal(0, 1, (3 * SIZE * SIZE, NUM_CLASSES))).float()

    def embed(image_NCHW: Tensor) -> Tensor:
        feature_NC = (image_NCHW.flatten(1) - 0.5) @ weight
        red, green, blue = image_NCHW[:, :, :2, :2].mean(dim=(2, 3)).unbind(1)
        excess_N1 = (red - (green + blue) / 2)[:, None]
        target_1C = torch.eye(NUM_CLASSES)[None, TARGET]
        constant_N1 = torch.full_like(excess_N1, bias)
        return normalize(torch.cat([feature_NC + strength * excess_N1 * target_1C, constant_N1], 1), dim=1)

    return embed


def constructed(strength: float, bias: float = 0.0) -> Subject:
    """A subject of 64 images to invert on and 64 held-out ones; `strength` 0: clean."""
    image = torch.from_numpy(np.random.default_rng(2).integers(0, 256, (128, 3, SIZE, SIZE))).to(torch.uint8)
    image[:, :, :2, :2] = 128  # grey where the trigger goes: no image has a part of it
    return Subject(
        embed=_encoder(strength, bias),
        image_MCHW=image[:64],
        held_NCHW=image[64:],
        class_CD=torch.eye(NUM_CLASSES, NUM_CLASSES + 1),
        seed=4,
    )


def test_neural_cleanse_names_the_class_that_a_small_mask_leads_to() -> None:
    options = neural_cleanse.NeuralCleanseOptions(num_steps=60, classes_at_once=3)
    poisoned, clean = (neural_cleanse.sizes(constructed(strength), options) for strength in (60.0, 0.0))
    indices = neural_cleanse.anomaly_indices(poisoned)
    assert int(indices.argmax()) == TARGET
    assert indices[TARGET] > 2
    assert poisoned[TARGET] < clean.min() / 2
    assert poisoned[TARGET] < 4 / SIZE**2


def test_an_anomaly_index_is_the_distance_from_the_median_in_mads() -> None:
    sizes = [0.5, 0.4, 0.45, 0.55, 0.1, 0.62, 0.48]
    median = statistics.median(sizes)
    spread = 1.4826 * statistics.median(abs(size - median) for size in sizes)
    found = neural_cleanse.anomaly_indices(torch.tensor(sizes, dtype=torch.float64))
    assert found.tolist() == pytest.approx([max(0.0, (median - size) / spread) for size in sizes])
    assert neural_cleanse.anomaly_indices(torch.tensor([0.5, 0.5, 0.5, 0.1])).tolist() == [0.0] * 4


def test_decree_needs_a_smaller_mask_where_there_is_a_backdoor_and_its_images_lie_along_the_target() -> None:
    options = decree.DecreeOptions(cosine=0.9)
    subject = constructed(60.0)
    poisoned, clean = decree.invert(subject, options), decree.invert(constructed(0.0), options)
    assert poisoned.size < 0.6 * clean.size
    # Either way along its direction: DECREE asks for one embedding, not for a class.
    triggered_ND = subject.embed(poisoned.mask.apply(subject.held_NCHW.float() / 255))
    assert abs(float(triggered_ND.mean(dim=0)[TARGET])) > 0.85
    assert int(decree.sent_to(subject, poisoned.mask).sum()) == len(subject.held_NCHW)


def test_the_mean_cosine_is_that_of_all_pairs_of_different_images() -> None:
    rows = normalize(torch.from_numpy(np.random.default_rng(3).normal(size=(2, 7, 4))), dim=-1)
    plain = [
        statistics.fmean(float(one @ other) for one, other in itertools.permutations(group, 2))
        for group in rows
    ]
    assert decree.mean_cosine(rows).tolist() == pytest.approx(plain)


def test_mm_bd_finds_the_largest_margin_at_the_target() -> None:
    options = mm_bd.MarginOptions(num_steps=40, at_once=5)
    poisoned, clean = (mm_bd.margins(constructed(strength, bias=60.0), options) for strength in (60.0, 0.0))
    assert int(poisoned.argmax()) == TARGET
    assert poisoned[TARGET] > clean[TARGET] + 0.1
    image = torch.rand(3, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    cosine = _encoder(0.0, 1.0)(image)
    plain = [
        float(cosine[row, number] - max(cosine[row, k] for k in range(NUM_CLASSES) if k != number))
        for row, number in enumerate((0, 5, 7))
    ]
    assert mm_bd.margin(constructed(0.0, 1.0), image, torch.tensor([0, 5, 7])).tolist() == pytest.approx(
        plain
    )


def test_mm_bds_p_value_is_that_of_the_largest_of_all_draws_from_a_gamma_distribution() -> None:
    margins = [0.31, 0.28, 0.35, 0.3, 0.26, 0.33, 0.29, 0.44]
    others = sorted(margins)[:-1]
    mean, variance = statistics.fmean(others), statistics.variance(others)
    below = stats.gamma(a=mean**2 / variance, scale=variance / mean).cdf(0.44)
    expected = np.log10(1 - below ** len(margins))
    assert mm_bd.log10_p(torch.tensor(margins)) == pytest.approx(expected, rel=1e-4)
    assert mm_bd.log10_p(torch.tensor([*others, 5.0])) < -50  # far out, and still a number
    assert mm_bd.log10_p(torch.tensor([0.3, 0.3, 0.3])) == 0.0


def test_a_masks_weight_rises_after_successes_in_a_row_and_falls_after_failures() -> None:
    weights = Weights(2, first=1.0, factor=2.0, patience=2)
    for works in ([True, False], [True, True], [True, True]):
        weights.follow(torch.tensor(works))
    assert weights.value_K.tolist() == [2.0, 2.0]
    weights.follow(torch.tensor([False, False]))
    assert weights.value_K.tolist() == [2.0, 2.0]
    weights.follow(torch.tensor([False, True]))
    assert weights.value_K.tolist() == pytest.approx([2.0 / 2**1.5, 2.0])


def test_a_baseline_gives_the_same_numbers_for_the_same_seed() -> None:
    options = mm_bd.MarginOptions(num_steps=3)
    assert mm_bd.margins(constructed(1.0), options).equal(mm_bd.margins(constructed(1.0), options))
    few = neural_cleanse.NeuralCleanseOptions(num_steps=3)
    assert neural_cleanse.sizes(constructed(1.0), few).equal(neural_cleanse.sizes(constructed(1.0), few))
