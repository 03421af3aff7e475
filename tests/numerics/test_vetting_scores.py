"""The scores of `vet` against plain float64 loops written from the formulas, and on sets with a known
answer."""

import math

import numpy as np
import pytest
import torch

from sanitizer.scans import regression
from sanitizer.vetting import conformal
from sanitizer.vetting.directions import trigger_direction, unit
from sanitizer.vetting.disagreement import disagreement, share_below
from sanitizer.vetting.embedding import BLURS, changed, sensitivity
from sanitizer.vetting.local_density import SMALLEST_DISTANCE, local_density
from sanitizer.vetting.mismatch import cosine, mismatch

RANDOM = np.random.default_rng


def unit_rows(num: int, width: int, seed: int = 0) -> np.ndarray:
    rows = RANDOM(seed).standard_normal((num, width))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def plain_dao(rows: np.ndarray, k: int) -> list[float]:
    """ln DAO by loops over samples and neighbours."""
    num, width = rows.shape
    neighbours, distances = [], []
    for q in range(num):
        others = sorted((math.dist(rows[q], rows[o]), o) for o in range(num) if o != q)[:k]
        neighbours.append([o for _, o in others])
        distances.append([max(d, SMALLEST_DISTANCE) for d, _ in others])
    lid = []
    for q in range(num):
        mean_log = sum(math.log(d / distances[q][-1]) for d in distances[q]) / k
        lid.append(width if -mean_log < 1 / width else -1 / mean_log)
    return [
        math.log(sum((distances[q][-1] / distances[o][-1]) ** lid[o] for o in neighbours[q]) / k)
        for q in range(num)
    ]


@pytest.mark.parametrize("k", [2, 5, 16])
def test_local_density_is_dao_by_plain_loops(k: int) -> None:
    rows = unit_rows(40, 6)
    rows[7] = rows[3]  # two equal images
    np.testing.assert_allclose(local_density(rows, k), plain_dao(rows, k), rtol=1e-6, atol=1e-6)


def test_local_density_finds_a_few_samples_far_from_a_dense_cloud() -> None:
    """Until k of them are in one batch: then they are each other's neighbours."""
    k, centre, there = 16, np.eye(24)[0], np.eye(24)[1]

    def share_found(num_poisons: int) -> float:
        random = RANDOM(1)
        clean = centre + 0.1 * random.standard_normal((300, 24))
        poisons = there + 0.01 * random.standard_normal((num_poisons, 24))
        rows = np.concatenate([clean, poisons])
        score = local_density(rows / np.linalg.norm(rows, axis=1, keepdims=True), k)
        return float((np.argsort(-score)[:num_poisons] >= 300).mean())

    assert share_found(5) == 1
    assert share_found(60) < 0.2


def test_local_density_takes_equal_images_and_refuses_too_few() -> None:
    rows = np.tile(unit_rows(1, 8), (30, 1))
    assert np.isfinite(local_density(rows, 16)).all()
    with pytest.raises(ValueError, match="16 neighbours"):
        local_density(rows[:16], 16)


def test_disagreement_is_the_difference_of_two_ranks_by_plain_loops() -> None:
    random = RANDOM(2)
    suspect, anchor = random.integers(0, 9, 50) / 9, random.integers(0, 9, 50) / 9  # with ties

    def rank(values: np.ndarray, one: float) -> float:
        return sum((other < one) + 0.5 * (other == one) for other in values) / len(values)

    expected = [rank(suspect, s) - rank(anchor, a) for s, a in zip(suspect, anchor, strict=True)]
    np.testing.assert_allclose(disagreement(suspect, anchor), expected, atol=1e-12)
    assert share_below(np.array([2.0]), np.array([1.0, 2.0, 3.0, 4.0]))[0] == 1.5 / 4


def test_a_caption_that_only_the_suspect_believes_disagrees_most() -> None:
    anchor = np.linspace(0.2, 0.4, 100)
    suspect = anchor.copy()
    suspect[0] = 0.41  # the anchor finds it the least fitting, the suspect the most
    assert disagreement(suspect, anchor).argmax() == 0


def test_residual_is_ridge_and_mahalanobis_by_plain_loops() -> None:
    random = RANDOM(3)
    anchor = random.standard_normal((60, 4))
    suspect = anchor @ random.standard_normal((4, 3)) + 0.1 * random.standard_normal((60, 3))
    model = regression.fit([(suspect[:25], anchor[:25]), (suspect[25:], anchor[25:])])
    f, g = suspect - suspect.mean(0), anchor - anchor.mean(0)
    ridge = regression.RIDGE * np.trace(g.T @ g / 60) / 4
    left, right = np.zeros((4, 4)), np.zeros((4, 3))
    for one in range(60):
        left += np.outer(g[one], g[one]) / 60
        right += np.outer(g[one], f[one]) / 60
    weight = np.linalg.inv(left + ridge * np.eye(4)) @ right
    np.testing.assert_allclose(model.weight_GD, weight, rtol=1e-8, atol=1e-10)
    own = f - g @ weight
    sigma = sum(np.outer(row, row) for row in own) / 60
    precision = np.linalg.inv(sigma + regression.SHRINKAGE * np.trace(sigma) / 3 * np.eye(3))
    expected = [row @ precision @ row for row in own]
    np.testing.assert_allclose(model.score(model.residual(suspect, anchor)), expected, rtol=1e-6)


def test_residual_finds_what_only_the_suspect_sees() -> None:
    random = RANDOM(4)
    anchor = random.standard_normal((400, 8))
    suspect = anchor @ random.standard_normal((8, 6)) + 0.1 * random.standard_normal((400, 6))
    planted = np.arange(5)
    suspect[planted] += np.array([0, 0, 3.0, 0, 0, 0])
    model = regression.fit([(suspect[5:], anchor[5:])])
    score = model.score(model.residual(suspect, anchor))
    assert set(np.argsort(-score)[:5]) == set(planted)


def test_trigger_direction_is_the_largest_projection_by_plain_loops() -> None:
    rows, directions = RANDOM(5).standard_normal((20, 4)), RANDOM(6).standard_normal((3, 4))
    directions[2] = 0  # a trigger that moves nothing
    units = unit(directions)
    expected = [
        max(sum(r * d for r, d in zip(row, one / max(np.linalg.norm(one), 1e-12), strict=True)) for one in
        directions) for row in rows
    ]  # fmt: skip
    np.testing.assert_allclose(trigger_direction(rows, units), expected, atol=1e-12)
    assert np.isfinite(units).all()


def test_mismatch_is_minus_the_cosine() -> None:
    images, texts = unit_rows(10, 5), unit_rows(10, 5, seed=1)
    expected = [-sum(i * t for i, t in zip(a, b, strict=True)) for a, b in zip(images, texts, strict=True)]
    np.testing.assert_allclose(mismatch(cosine(images, texts)), expected, atol=1e-12)


def test_sensitivity_sees_a_patch_that_decides_the_embedding() -> None:
    """A model whose embedding turns where a bright corner is: masking it turns the embedding back."""

    def embed(image_NCHW: torch.Tensor) -> torch.Tensor:
        corner_N = image_NCHW[:, :, :4, :4].mean(dim=(1, 2, 3)) > 0.9
        angle_N = torch.where(corner_N, torch.tensor(1.2), torch.tensor(0.1))
        return torch.stack([angle_N.cos(), angle_N.sin()], dim=1).double()

    images = torch.full((3, 3, 32, 32), 0.4)
    images[1, :, :4, :4] = 1
    score = sensitivity(images, embed(images), embed)
    assert score.argmax() == 1
    assert score[1] == pytest.approx(1 - math.cos(1.1))
    assert score[0] == pytest.approx(0, abs=1e-6)


def test_the_eight_versions_are_five_masks_and_three_blurs() -> None:
    image = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    versions = list(changed(image))
    assert len(versions) == 5 + len(BLURS)
    assert all(version.shape == image.shape for version in versions)
    top_left = versions[0][0, 1, :16, :16]
    assert torch.allclose(top_left, image[0, 1].mean().expand(16, 16))
    assert torch.equal(versions[0][:, :, 16:], image[:, :, 16:])
    sigma = BLURS[-1] * 32
    weights = [math.exp(-0.5 * (offset / sigma) ** 2) for offset in range(-6, 7)]
    expected = sum(
        a * b * float(image[0, 0, 16 + i - 6, 16 + j - 6]) for i, a in enumerate(weights) for j, b in
        enumerate(weights)
    ) / sum(weights) ** 2  # fmt: skip
    assert float(versions[-1][0, 0, 16, 16]) == pytest.approx(expected, rel=1e-5)


def test_p_values_and_ranks_are_counts_with_ties_against_the_sample() -> None:
    scores, trusted = np.array([0.0, 1.0, 2.0, 2.0, 9.0]), np.array([1.0, 2.0, 3.0])
    assert conformal.p_values(scores, trusted).tolist() == [4 / 4, 4 / 4, 3 / 4, 3 / 4, 1 / 4]
    assert conformal.rank_shares(scores).tolist() == [5 / 5, 4 / 5, 3 / 5, 3 / 5, 1 / 5]


def test_the_combination_is_cauchys_by_plain_loops() -> None:
    p = np.array([[0.01, 0.4, 0.7], [0.5, 0.5, 0.5], [0.001, 0.99, 1.0]])
    expected = []
    for row in p:
        mean = sum(math.tan((0.5 - min(one, conformal.MOST)) * math.pi) for one in row) / 3
        expected.append(0.5 - math.atan(mean) / math.pi)
    np.testing.assert_allclose(conformal.combined(p), expected, rtol=1e-12)


def test_one_small_p_value_is_not_cancelled_by_large_ones() -> None:
    p = conformal.combined(np.array([[0.001, 1.0, 1.0, 0.999]]))[0]
    assert p < 0.01


def _one_sided(scores: np.ndarray) -> np.ndarray:
    """p of a standard normal score, to three digits and more."""
    return 0.5 * np.vectorize(math.erfc)(scores / math.sqrt(2))


@pytest.mark.parametrize(("correlation", "most_inflated"), [(0.0, 1.1), (0.5, 1.3), (0.95, 1.1), (-1.0, 1.1)])
def test_of_clean_samples_no_more_have_a_small_combined_p_value_than_said(
    correlation: float, most_inflated: float
) -> None:
    """By simulation of 60,000 samples with five scores: the share with p <= a is a, or up to a fifth more."""
    random, num = RANDOM(7), 60_000
    own = random.standard_normal((num, 5))
    if correlation < 0:
        scores = np.concatenate([own[:, :1], -own[:, :1], own[:, 2:]], axis=1)
    else:
        others = random.standard_normal((num, 5))
        scores = math.sqrt(correlation) * own[:, :1] + math.sqrt(1 - correlation) * others
    p = conformal.combined(_one_sided(scores))
    for level in (0.05, 0.01):
        noise = 3 * math.sqrt(level / num)
        assert (p <= level).mean() <= most_inflated * level + noise


def test_conformal_p_values_are_valid_for_clean_samples_whatever_the_score() -> None:
    """The mean share of p <= a over many draws of the calibrating samples is at most a."""
    random = RANDOM(8)
    shares = []
    for _ in range(400):
        scores = random.gamma(0.3, size=260)  # heavy, and with ties after rounding
        p = conformal.p_values(scores[60:].round(2), scores[:60].round(2))
        shares.append([(p <= level).mean() for level in (0.02, 0.05, 0.2)])
    for level, share in zip((0.02, 0.05, 0.2), np.mean(shares, axis=0), strict=True):
        assert share <= level + 0.006


def test_the_worst_are_the_lowest_then_by_the_finer_order_then_by_place() -> None:
    combined, finer = np.array([0.5, 0.1, 0.1, 0.1, 0.9]), np.array([0.1, 0.3, 0.2, 0.3, 0.1])
    assert conformal.worst(combined, finer, 0.6).tolist() == [2, 1, 3]
    assert conformal.worst(combined, finer, 0.01).tolist() == [2]
