"""Every figure of merit against its definition written plainly, and against a library where there is one."""

import math
import statistics

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from lab.zoo.tables import clopper_pearson, delong


def _scores(seed: int, n: int, m: int, *, decimals: int) -> tuple[list[float], list[float]]:
    """With ties where there are few decimals."""
    draws = np.random.default_rng(seed)
    return (
        np.round(draws.normal(0, 1, n), decimals).tolist(),
        np.round(draws.normal(0.8, 1.4, m), decimals).tolist(),
    )


def _psi(poisoned: float, null: float) -> float:
    return 1.0 if poisoned > null else 0.5 if poisoned == null else 0.0


@pytest.mark.parametrize("decimals", [0, 1, 8])
def test_auroc_is_the_share_of_pairs_and_what_scikit_learn_says(decimals: int) -> None:
    null, poisoned = _scores(1, 31, 17, decimals=decimals)
    pairs = statistics.fmean(_psi(high, low) for high in poisoned for low in null)
    assert delong(null, poisoned).value == pytest.approx(pairs, abs=1e-12)
    library = roc_auc_score([0] * len(null) + [1] * len(poisoned), null + poisoned)
    assert delong(null, poisoned).value == pytest.approx(library, abs=1e-12)


@pytest.mark.parametrize("decimals", [0, 1, 8])
def test_delongs_variance_is_that_of_the_definition_over_all_pairs(decimals: int) -> None:
    null, poisoned = _scores(2, 23, 19, decimals=decimals)
    v10 = [statistics.fmean(_psi(high, low) for low in null) for high in poisoned]
    v01 = [statistics.fmean(_psi(high, low) for high in poisoned) for low in null]
    deviation = math.sqrt(statistics.variance(v10) / len(v10) + statistics.variance(v01) / len(v01))
    measured = delong(null, poisoned)
    z = stats.norm.ppf(0.975)
    assert measured.value == pytest.approx(statistics.fmean(v10), abs=1e-12)
    assert measured.low == pytest.approx(max(0, measured.value - z * deviation), abs=1e-12)
    assert measured.high == pytest.approx(min(1, measured.value + z * deviation), abs=1e-12)


def test_delongs_interval_holds_the_true_auroc_about_as_often_as_it_says() -> None:
    true = float(stats.norm.cdf(1 / math.sqrt(2)))
    draws = np.random.default_rng(3)
    held = 0
    for _ in range(400):
        one = delong(draws.normal(0, 1, 40).tolist(), draws.normal(1, 1, 40).tolist())
        held += one.low <= true <= one.high
    assert 0.91 < held / 400 < 0.98


def test_delongs_interval_says_nothing_where_the_scores_do_not_overlap() -> None:
    assert delong([1, 2, 3], [4, 5]) == (1.0, 1.0, 1.0)
    assert delong([1], [2, 3]) == (1.0, 0.0, 1.0)


@pytest.mark.parametrize("n", [1, 2, 7, 20, 60, 250])
def test_clopper_pearson_is_what_scipy_says(n: int) -> None:
    for successes in {0, 1, n // 3, n // 2, n - 1, n}:
        library = stats.binomtest(successes, n).proportion_ci(confidence_level=0.95, method="exact")
        measured = clopper_pearson(successes, n)
        assert measured.value == successes / n
        assert (measured.low, measured.high) == pytest.approx((library.low, library.high), abs=1e-9)


def test_clopper_pearson_of_eighteen_of_twenty_is_the_designs() -> None:
    assert [round(bound, 2) for bound in clopper_pearson(18, 20)] == [0.9, 0.68, 0.99]
    assert clopper_pearson(0, 0)[1:] == (0.0, 1.0)


def test_scores_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(ValueError, match="one of each"):
        delong([], [1.0])
    with pytest.raises(ValueError, match="NaN"):
        delong([1.0], [math.nan])
    with pytest.raises(ValueError, match="5 successes of 4"):
        clopper_pearson(5, 4)
