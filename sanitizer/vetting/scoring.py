"""From embeddings to scores, p-values and what is set aside. Reads rows; runs no model.

Shapes: N good samples of the vetted set, n trusted ones that calibrate, M = N + n of both in one pool (the
vetted first), D embedding width, S scores.

Every score treats the pool's samples alike: neighbours and ranks are looked for in the pool, and what is
fitted is fitted on other trusted samples. So a clean sample is exchangeable with the trusted ones where
their sources are.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cleanclip.kinds.facts import Data, Facts
from cleanclip.kinds.vet import TRUSTED, VETTED, check_samples
from cleanclip.vocabulary.vet_options import ScoreName, VetOptions
from sanitizer.scans import regression
from sanitizer.seeding import generator
from sanitizer.vetting import conformal
from sanitizer.vetting.directions import trigger_direction, unit
from sanitizer.vetting.disagreement import disagreement
from sanitizer.vetting.embedding import Passed
from sanitizer.vetting.local_density import local_density
from sanitizer.vetting.mismatch import cosine, mismatch

Floats = NDArray[np.float64]
Places = NDArray[np.int64]

_AT_ONCE = 4096


@dataclass(frozen=True, kw_only=True, eq=False)
class Pool:
    """The good samples of the vetted set, then the trusted ones that calibrate."""

    vetted: Passed
    trusted: Passed | None = None
    fit_rows: Places
    calibration_rows: Places
    """Both are rows of `trusted`."""

    @property
    def num_vetted(self) -> int:
        return len(self.vetted.good)

    @property
    def judge(self) -> Literal["suspect", "anchor"]:
        """The model that says whether a caption fits: the anchor where there is one."""
        return "anchor" if "anchor_image" in self.vetted.files.widths else "suspect"

    def __len__(self) -> int:
        return self.num_vetted + len(self.calibration_rows)

    def read(self, field: str, place_M: Places) -> Floats:
        """[len(place_M), width]."""
        is_vetted = place_M < self.num_vetted
        width = self.vetted.files.widths[field]
        rows = np.empty((len(place_M), width))
        rows[is_vetted] = self.vetted.files.read(field, self.vetted.good[place_M[is_vetted]])
        if self.trusted is not None:
            places = place_M[~is_vetted] - self.num_vetted
            rows[~is_vetted] = self.trusted.files.read(field, self.calibration_rows[places])
        return rows

    def blocks(self) -> Iterator[Places]:
        """All places, some at a time."""
        for start in range(0, len(self), _AT_ONCE):
            yield np.arange(start, min(start + _AT_ONCE, len(self)), dtype=np.int64)

    def fitting(self) -> Iterator[tuple[Floats, Floats]]:
        """Suspect's and anchor's image embeddings of what is fitted on: trusted samples, else the vetted
        set."""
        source, rows = self.vetted, self.vetted.good
        if self.trusted is not None:
            source, rows = self.trusted, self.fit_rows
        for start in range(0, len(rows), _AT_ONCE):
            some = rows[start : start + _AT_ONCE]
            yield source.files.read("suspect_image", some), source.files.read("anchor_image", some)


def make_pool(vetted: Passed, trusted: Passed | None, options: VetOptions, seed: int) -> Pool:
    """Raises DatasetRejected `too_few_to_vet`, `too_few_trusted`."""
    known = {VETTED.column: Data(num_good=len(vetted.good))}
    if trusted is not None:
        known[TRUSTED.column] = Data(num_good=len(trusted.good))
    for refusal in check_samples(Facts(options=options, data=known)):
        raise refusal
    none = np.zeros(0, dtype=np.int64)
    if trusted is None:
        return Pool(vetted=vetted, fit_rows=none, calibration_rows=none)
    order = generator(seed, "vet_trusted_halves").permutation(trusted.good)
    half = len(order) // 2
    return Pool(
        vetted=vetted, trusted=trusted, fit_rows=np.sort(order[:half]), calibration_rows=np.sort(order[half:])
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Scored:
    """All scores of the pool, and what they come to for the vetted samples."""

    names: tuple[ScoreName, ...]
    value_MS: Floats
    p_NS: Floats
    """p-values against the calibrating samples or, without any, ranks as shares."""
    combined_N: Floats
    worst: Places
    """Places of the samples set aside, worst first."""


def score(
    pool: Pool, names: tuple[ScoreName, ...], options: VetOptions, direction_JD: Floats, seed: int
) -> Scored:
    """`direction_JD`: of the known triggers; no row where there are none."""
    made = {name: np.empty(len(pool)) for name in names}
    if {"disagreement", "mismatch"} & made.keys():
        cosines = cosines_of(pool)
        if "disagreement" in made:
            made["disagreement"] = disagreement(cosines["suspect"], cosines["anchor"])
        if "mismatch" in made:
            made["mismatch"] = mismatch(cosines[pool.judge])
    if {"residual", "trigger_direction"} & made.keys():
        _residuals(pool, made, direction_JD)
    if "local_density" in made:
        for place_B in batches(len(pool), options.batch_size, seed):
            rows = pool.read("suspect_image", place_B)
            made["local_density"][place_B] = local_density(rows, options.neighbours)
    if "sensitivity" in made:
        for place_M in pool.blocks():
            made["sensitivity"][place_M] = pool.read("sensitivity", place_M)[:, 0]
    value_MS = np.stack([made[name] for name in names], axis=1)
    return judge(pool.num_vetted, names, value_MS, options.share)


def judge(num_vetted: int, names: tuple[ScoreName, ...], value_MS: Floats, share: float) -> Scored:
    """The first `num_vetted` rows of `value_MS` are judged by the others, or among themselves."""
    value_NS, trusted_nS = value_MS[:num_vetted], value_MS[num_vetted:]
    columns = range(value_MS.shape[1])
    rank_NS = np.stack([conformal.rank_shares(value_NS[:, one]) for one in columns], axis=1)
    p_NS = rank_NS
    if len(trusted_nS):
        p_NS = np.stack([conformal.p_values(value_NS[:, s], trusted_nS[:, s]) for s in columns], axis=1)
    combined_N = conformal.combined(p_NS)
    return Scored(
        names=names,
        value_MS=value_MS,
        p_NS=p_NS,
        combined_N=combined_N,
        worst=conformal.worst(combined_N, conformal.combined(rank_NS), share),
    )


def batches(num: int, batch_size: int, seed: int) -> list[Places]:
    """All places in an order drawn by the seed, in nearly equal parts of about `batch_size`."""
    order = generator(seed, "vet_batches").permutation(num).astype(np.int64)
    return np.array_split(order, max(1, round(num / batch_size)))


def cosines_of(pool: Pool) -> dict[str, Floats]:
    """Of every image of the pool to its own text, [M], by the suspect and, where there is one, by the
    anchor."""
    cosines: dict[str, Floats] = {
        name: np.empty(len(pool)) for name in dict.fromkeys(("suspect", pool.judge))
    }
    for place_M in pool.blocks():
        for name, cosine_M in cosines.items():
            images, texts = (pool.read(f"{name}_{kind}", place_M) for kind in ("image", "text"))
            cosine_M[place_M] = cosine(images, texts)
    return cosines


def _residuals(pool: Pool, made: dict[ScoreName, Floats], direction_JD: Floats) -> None:
    model = regression.fit(pool.fitting())
    unit_JD = unit(direction_JD) if len(direction_JD) else direction_JD
    for place_M in pool.blocks():
        suspect, anchor = (pool.read(f"{name}_image", place_M) for name in ("suspect", "anchor"))
        residual_ND = model.residual(suspect, anchor)
        if "residual" in made:
            made["residual"][place_M] = model.score(residual_ND)
        if "trigger_direction" in made:
            made["trigger_direction"][place_M] = trigger_direction(residual_ND, unit_JD)
