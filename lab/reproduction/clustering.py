"""How much the intervals over images are too narrow: several test images are composed of one glyph.

A design effect is the variance of a mean by glyphs over the one that takes every image for independent. CA
and CA lost alone have one: of ASR and PA no cell keeps which images they are.

Shapes: N images, G glyphs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from lab.reproduction.cells import NUM_TEST, TEST_SEED, Cell, Subject, started_from, subject_of
from lab.reproduction.summary import Results
from lab.testbed import glyphs as glyph_sets
from lab.testbed.glyphs import GlyphName, GlyphsMissing
from lab.testbed.pictures import compose


@dataclass(frozen=True, kw_only=True)
class Effects:
    """Design effects of cells of these glyphs; `left_out`: glyphs that are not on this machine.

    `ca` and `ca_lost` are of single cells, `ca_pooled` of the same cell with several seeds, whose test
    images are composed of the same glyphs.
    """

    ca: tuple[float, ...] = ()
    ca_pooled: tuple[float, ...] = ()
    ca_lost: tuple[float, ...] = ()
    glyphs: tuple[GlyphName, ...] = ()
    left_out: tuple[GlyphName, ...] = ()


def effects(cells: Iterable[Cell], results: Results) -> Effects:
    """Of every cell that was run and whose glyphs are here; the same for the same cells, bits and glyphs."""
    ran = [(cell, run) for cell in cells if (run := results.of(cell)) is not None]
    there = {name: _is_here(name) for name in dict.fromkeys(_glyph_name(cell) for cell, _ in ran)}
    ca: list[float | None] = []
    lost: list[float | None] = []
    by_seed: dict[Cell, list[tuple[list[bool], NDArray[np.int64]]]] = {}
    for cell, run in ran:
        if not there[_glyph_name(cell)]:
            continue
        glyph_N = _test_glyphs(_glyph_name(cell), subject_of(cell).seed)
        ca.append(design_effect(run.is_right, glyph_N))
        by_seed.setdefault(_of_no_seed(cell), []).append((run.is_right, glyph_N))
        before = None if isinstance(cell, Subject) else results.of(started_from(cell))
        if before is not None:
            lost_N = np.subtract(before.is_right, run.is_right, dtype=np.float64)
            lost.append(design_effect(lost_N, glyph_N))
    pooled = [
        design_effect(np.concatenate(rights).astype(np.float64), np.concatenate(glyphs))
        for rights, glyphs in (zip(*seeds, strict=True) for seeds in by_seed.values() if len(seeds) > 1)
    ]
    return Effects(
        ca=tuple(effect for effect in ca if effect is not None),
        ca_pooled=tuple(effect for effect in pooled if effect is not None),
        ca_lost=tuple(effect for effect in lost if effect is not None),
        glyphs=tuple(name for name, is_here in there.items() if is_here),
        left_out=tuple(name for name, is_here in there.items() if not is_here),
    )


def design_effect(
    value_N: Sequence[bool] | NDArray[np.float64], cluster_N: NDArray[np.int64]
) -> float | None:
    """Var of the mean of `value_N` by clusters over its Var of independent images; None if all are equal.

    The linearised variance of a ratio (Cochran, Sampling Techniques, 1977, 6.3): residuals are added within
    each of the clusters seen, G/(G-1) times the sum of their squares. For booleans the denominator is the
    binomial variance p(1-p)/N. Raises ValueError without two clusters.
    """
    residual_N = np.asarray(value_N, dtype=np.float64)
    residual_N = residual_N - residual_N.mean()
    _, place_N = np.unique(cluster_N, return_inverse=True)
    sum_G = np.bincount(place_N, weights=residual_N)
    if len(sum_G) < 2:
        raise ValueError("a design effect needs two clusters")
    independent = float(residual_N @ residual_N)
    if independent == 0:
        return None
    return len(sum_G) / (len(sum_G) - 1) * float(sum_G @ sum_G) / independent


def _of_no_seed(cell: Cell) -> Cell:
    if isinstance(cell, Subject):
        return replace(cell, seed=0)
    return replace(cell, subject=replace(cell.subject, seed=0))


def _glyph_name(cell: Cell) -> GlyphName:
    return subject_of(cell).options.glyphs


def _is_here(name: GlyphName) -> bool:
    try:
        glyph_sets.load(name)
    except GlyphsMissing:
        return False
    return True


@cache
def _test_glyphs(name: GlyphName, seed: int) -> NDArray[np.int64]:
    """Which glyph each test image of a seed is made of, in the order of the bits that cells keep."""
    return compose(glyph_sets.load(name), "test", NUM_TEST, seed=TEST_SEED + seed).glyph_N
