"""What a vetting's report derives from counts, against plain loops over samples one by one, in float64."""

import gzip
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cleanclip.vocabulary.vet_report import VetReport, load_vet_report
from sanitizer.seeding import generator

KEPT = Path(__file__).parents[1] / "fixtures/stand_in"


def kept(name: str) -> tuple[VetReport, list[dict[str, Any]]]:
    """The report and the lines of its scores."""
    lines = gzip.decompress((KEPT / name / "vet_scores.jsonl.gz").read_bytes()).splitlines()
    return load_vet_report((KEPT / name / "report.json").read_bytes()), [json.loads(one) for one in lines]


def cauchy(shares: list[float]) -> float:
    total = 0.0
    for share in shares:
        total += 1 / math.tan(math.pi * min(share, 0.95))
    return 0.5 - math.atan2(total, len(shares)) / math.pi


@pytest.mark.parametrize("name", ["vetted_trusted", "vetted_trusted_anchor"])
def test_levels_count_the_samples_whose_p_value_is_no_larger(name: str) -> None:
    report, lines = kept(name)
    levels: list[Any] = []
    for level in (0.001, 0.01, 0.05):
        num, expected = 0, 0.0
        for line in lines:
            num += cauchy([p for _, p in line["scores"].values()]) <= level * (1 + 1e-12)
            expected += level
        levels.append((level, num, pytest.approx(expected, rel=1e-12)))
    assert [(one.level, one.num, one.expected) for one in report.levels] == levels


@pytest.mark.parametrize("name", ["vetted", "vetted_mismatch", "vetted_trusted", "vetted_trusted_anchor"])
def test_the_samples_set_aside_are_the_worst(name: str) -> None:
    report, lines = kept(name)
    aside = [cauchy([p for _, p in one["scores"].values()]) for one in lines if one["set_aside"]]
    left = [cauchy([p for _, p in one["scores"].values()]) for one in lines if not one["set_aside"]]
    assert (report.set_aside.num, report.set_aside.of) == (len(aside), len(aside) + len(left))
    assert max(aside) <= min(left) + 1e-12


@pytest.mark.parametrize("seed", range(40))
def test_how_many_are_set_aside_fitted_and_calibrated_with(seed: int) -> None:
    draws = generator(seed, "vet report")
    num_good, num_skipped, num_trusted = (
        int(draws.integers(*range_)) for range_ in ((1, 400), (0, 9), (2, 99))
    )
    share = round(float(draws.uniform(0.001, 0.5)), 3)
    num_aside = 0
    for _ in range(num_good):
        num_aside += num_aside + 1 <= share * num_good
    fit = calibration = 0
    for place in range(num_trusted):
        if place % 2:
            fit += 1
        else:
            calibration += 1
    report, _ = kept("vetted_trusted")
    sizes = (num_good + num_skipped, num_trusted + num_skipped)
    num_decisive = [max(1, num_aside), *[0] * (len(report.scores) - 1)]
    made = replace(
        report,
        options=replace(report.options, share=share, num_shown=0),
        data=tuple(
            replace(one, num_samples=size, num_skipped=num_skipped)
            for one, size in zip(report.data, sizes, strict=True)
        ),
        scores=tuple(
            replace(one, vetted=replace(one.vetted, n=num_good), num_decisive=num)
            for one, num in zip(report.scores, num_decisive, strict=True)
        ),
        num_at_levels=(0, 0, 0),
        worst=(),
    )
    assert (made.set_aside.num, made.set_aside.of) == (max(1, num_aside), num_good)
    assert (made.num_fit, made.num_calibration) == (fit, calibration)
