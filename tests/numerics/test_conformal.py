"""A scan's p-value: valid on exchangeable pools, equal to a plain reference, ties against us."""

import statistics as plain
import time

import numpy as np
import pytest

from cleanclip.vocabulary.conformal import FLOOR, Pooled, Row, distance, judge, leave_one_out_z
from cleanclip.vocabulary.scan_report import DetectorJudgement
from sanitizer.seeding import generator


def models(values: np.ndarray) -> list[dict[str, Row]]:
    """[models, detectors, statistics] → what `judge` takes."""
    names = ("collapse", "edits")
    return [
        {names[d]: {f"statistic {k}": float(v) for k, v in enumerate(row)} for d, row in enumerate(model)}
        for model in values
    ]


def rank(one: Pooled) -> int:
    """Of the suspect, as a report says it."""
    score_M = one.score_M
    judged = DetectorJudgement(
        detector="edits", what=one.what, z=score_M[-1], of=len(score_M), among="models", others=score_M[:-1]
    )
    return judged.rank


def reference_p(values: np.ndarray) -> float:
    """Plain loops over the definition in the module's docstring; the suspect is the last."""
    num, num_detectors, num_statistics = values.shape

    def score(model: int, detector: int) -> float:
        found = []
        for k in range(num_statistics):
            others = [float(values[m, detector, k]) for m in range(num) if m != model]
            spread = plain.stdev(others) if len(others) > 1 else 0.0
            found.append((float(values[model, detector, k]) - plain.mean(others)) / max(spread, FLOOR))
        return max(found)

    def apart(scores: list[float], model: int) -> float:
        others = [scores[m] for m in range(num) if m != model]
        spread = plain.stdev(others) if len(others) > 1 else 0.0
        return (scores[model] - plain.mean(others)) / max(spread, 1.0)

    scores = [[score(model, detector) for model in range(num)] for detector in range(num_detectors)]
    combined = [round(max(apart(row, model) for row in scores), 9) for model in range(num)]
    return (1 + sum(one >= combined[-1] for one in combined[:-1])) / num


@pytest.mark.parametrize("seed", range(20))
def test_p_is_that_of_a_plain_reference(seed: int) -> None:
    values = generator(seed, "pool").normal(size=(9, 2, 4))
    if seed % 2:
        values = values.round(1)
        values[3] = values[-1]
    pool = models(values)
    assert judge(pool[:-1], pool[-1]).p_value == pytest.approx(reference_p(values))


def test_p_is_valid_where_models_are_exchangeable() -> None:
    num_pools, num_null = 600, 19
    p_values = []
    for number in range(num_pools):
        draws = generator(number, "valid")
        # Heavy tails, correlated statistics and ties: validity asks for exchangeability alone.
        values = draws.standard_t(2, size=(num_null + 1, 2, 3)) + draws.normal(size=(num_null + 1, 1, 1))
        pool = models(values.round(1))
        p_values.append(judge(pool[:-1], pool[-1]).p_value)
    for level in (0.05, 0.1, 0.2, 0.5):
        share = sum(p <= level + 1e-12 for p in p_values) / num_pools
        margin = 3 * (level * (1 - level) / num_pools) ** 0.5
        assert share <= level + margin, f"P(p ≤ {level}) is {share}"
    assert min(p_values) >= 1 / (num_null + 1)


def test_a_model_that_stands_out_has_the_smallest_p_that_the_null_allows() -> None:
    values = 0.1 * generator(1, "pool").random((20, 2, 3))
    values[-1, :, 1] = 0.95
    pool = models(values)
    judged = judge(pool[:-1], pool[-1])
    assert judged.p_value == pytest.approx(1 / 20)
    assert [rank(one) for one in judged.detectors] == [1, 1]
    assert [one.what for one in judged.detectors] == ["statistic 1", "statistic 1"]


def test_one_detector_is_enough_though_another_model_is_the_first_of_the_other() -> None:
    values = 0.1 * generator(3, "pool").random((20, 2, 3))
    values[-1, 0, 1] = 0.95
    values[4, 1, 2] = 0.15
    pool = models(values)
    judged = judge(pool[:-1], pool[-1])
    assert [rank(one) == 1 for one in judged.detectors] == [True, False]
    assert judged.p_value == pytest.approx(1 / 20)


@pytest.mark.parametrize("seed", range(5))
def test_the_pattern_that_is_the_furthest_from_the_null_is_the_one_that_p_speaks_of(seed: int) -> None:
    """A detector of many statistics has larger z on every model: by z alone its patterns would come first."""
    values = generator(seed, "pool").normal(size=(15, 2, 40))
    values[:, 1, 3:] = 0.0
    values[-1, 1, 2] += 4
    pool = models(values)
    judged = judge(pool[:-1], pool[-1])
    of = {(one.detector, name): distance(one, z) for one in judged.detectors for name, z in one.z_of.items()}
    first = max(of, key=lambda key: of[key])
    assert of[first] == pytest.approx(judged.combined_M[-1], abs=1e-6)
    assert first == ("edits", "statistic 2")


def test_ties_count_against_us() -> None:
    values = np.zeros((10, 2, 2))
    pool = models(values)
    assert judge(pool[:-1], pool[-1]).p_value == 1.0
    values[-1] = values[0] = 0.9
    pool = models(values)
    judged = judge(pool[:-1], pool[-1])
    assert judged.p_value == pytest.approx(2 / 10)
    assert rank(judged.detectors[0]) == 2


def test_a_statistic_that_is_large_on_every_model_says_nothing() -> None:
    values = 0.02 * generator(2, "pool").random((12, 2, 3))
    values[:, :, 0] += 0.9
    pool = models(values)
    plain_p = judge(pool[:-1], pool[-1]).p_value
    values[:, :, 0] -= 0.9
    pool = models(values)
    assert judge(pool[:-1], pool[-1]).p_value == plain_p


def test_a_null_of_one_model_and_one_without_spread_give_finite_z() -> None:
    assert np.isfinite([leave_one_out_z(values) for values in ([0.1, 0.9], [0.2, 0.2])]).all()
    assert leave_one_out_z([0.5, 0.5, 0.52])[-1] == pytest.approx(1.0)


def test_a_null_as_large_as_may_be_is_judged_in_seconds() -> None:
    """`cleanclip verify` works it out again on a stranger's folder."""
    pool = models(generator(4, "pool").normal(size=(10_000, 1, 20)))
    began = time.process_time()
    judge(pool[:-1], pool[-1])
    assert time.process_time() - began < 10


def test_a_null_of_other_statistics_and_an_empty_one_are_refused() -> None:
    pool = models(np.zeros((3, 2, 2)))
    with pytest.raises(ValueError, match="at least one"):
        judge([], pool[0])
    with pytest.raises(ValueError, match="different statistics"):
        judge(models(np.zeros((3, 2, 3))), pool[0])
