"""Design effects: as a plain loop over clusters gives them, over the cells whose glyphs are here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lab.reproduction import grid
from lab.reproduction.cells import NUM_TEST, TEST_SEED, Cell, Cleaning
from lab.reproduction.clustering import Effects, design_effect, effects
from lab.reproduction.summary import Results
from lab.testbed import glyphs
from lab.testbed.options import BADNET
from lab.testbed.pictures import compose
from sanitizer.seeding import generator
from tests.unit.reproduction.made_up import made_up, with_right


def by_loop(values: list[float], clusters: list[int]) -> float:
    """The same quantity, picture by picture."""
    mean = sum(values) / len(values)
    sums: dict[int, float] = {}
    for value, cluster in zip(values, clusters, strict=True):
        sums[cluster] = sums.get(cluster, 0.0) + value - mean
    clustered = len(sums) / (len(sums) - 1) * sum(total**2 for total in sums.values()) / len(values) ** 2
    independent = sum((value - mean) ** 2 for value in values) / len(values) ** 2
    return clustered / independent


def test_a_design_effect_is_that_of_a_plain_loop() -> None:
    random = generator(3, "test_clustering")
    cluster_N = random.integers(40, size=300) * 7
    ease_G = random.random(300)
    correct_N = random.random(300) < ease_G[cluster_N // 7]
    found = design_effect(correct_N.tolist(), cluster_N)
    assert found == pytest.approx(by_loop([float(one) for one in correct_N], cluster_N.tolist()))
    assert found is not None
    assert found > 1.5  # some glyphs are easy, some are hard
    share = correct_N.mean()
    assert np.mean((correct_N - share) ** 2) == pytest.approx(share * (1 - share))  # binomial, for booleans


def test_pictures_of_a_glyph_of_their_own_are_independent_and_twins_count_half() -> None:
    correct = [True, False, True, True, False, True]
    alone = design_effect(correct, np.arange(6))
    assert alone == pytest.approx(6 / 5)  # nothing but the correction of few clusters
    twins = design_effect([*correct, *correct], np.array([*range(6), *range(6)]))
    assert twins == pytest.approx(2 * 6 / 5)


def test_seeds_share_their_glyphs() -> None:
    cells: list[Cell] = [grid.subject(BADNET, seed) for seed in (1, 2)]
    drawn = [compose(glyphs.digits(), "test", NUM_TEST, seed=TEST_SEED + seed).glyph_N for seed in (1, 2)]
    rights = [(glyph_N % 5 != 0).tolist() for glyph_N in drawn]  # the same glyphs are hard with each seed
    runs = [with_right(made_up(cell, 1, 1), right) for cell, right in zip(cells, rights, strict=True)]
    (pooled,) = effects(cells, Results(runs)).ca_pooled
    assert pooled == pytest.approx(
        by_loop(np.concatenate(rights).astype(float).tolist(), np.concatenate(drawn).tolist())
    )
    assert pooled > 1.5 * max(effects(cells, Results(runs)).ca)
    assert effects(cells[:1], Results(runs)).ca_pooled == ()


def test_where_all_pictures_are_alike_there_is_no_effect_and_one_cluster_is_refused() -> None:
    assert design_effect([True] * 4, np.array([0, 0, 1, 1])) is None
    with pytest.raises(ValueError, match="two clusters"):
        design_effect([True, False], np.array([5, 5]))


def test_cells_are_clustered_by_the_glyphs_of_their_own_test_pictures(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FASHION_MNIST", str(tmp_path))
    # Without what another test may have loaded and the cache holds.
    monkeypatch.setattr(glyphs, "fashion_mnist", glyphs.fashion_mnist.__wrapped__)
    subject = grid.subject(BADNET, 2)
    cleaning = Cleaning(subject=subject, recipe=grid.CLEANCLIP)
    elsewhere = grid.subject(BADNET, 2, grid.FASHION)
    cells: list[Cell] = [subject, cleaning, elsewhere]
    glyph_N = compose(glyphs.digits(), "test", NUM_TEST, seed=TEST_SEED + 2).glyph_N
    before, after = glyph_N % 5 != 0, glyph_N % 7 != 0
    runs = [
        with_right(made_up(subject, 1, 1), before.tolist()),
        with_right(made_up(cleaning, 1, 1), after.tolist()),
        made_up(elsewhere, 2_000, 1),
    ]
    found = effects(cells, Results(runs))
    assert found.glyphs == ("digits",)
    assert found.left_out == ("fashion_mnist",)
    assert found.ca == (design_effect(before.tolist(), glyph_N), design_effect(after.tolist(), glyph_N))
    assert found.ca_lost == (design_effect(before.astype(float) - after, glyph_N),)
    assert found.ca[0] > 5  # every glyph is wholly right or wholly wrong
    assert effects(cells, Results([])) == Effects()
