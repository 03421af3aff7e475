"""Intervals against bisection on their defining equation, against SciPy, and against published examples."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, t, ttest_1samp

from cleanclip.vocabulary.intervals import student_95
from sanitizer.audits.statistics import mean_distance, paired_difference, wilson
from tests.fixtures.made_reports import newcombe
from tests.numerics import reference

TOLERANCE = 1e-9


@given(data=st.data(), n=st.integers(1, 60_000))
def test_wilsons_bounds_solve_the_equation_that_defines_them(data: st.DataObject, n: int) -> None:
    successes = data.draw(st.integers(0, n))
    estimate = wilson(successes, n)
    low, high = reference.wilson(successes, n)
    assert estimate.low == pytest.approx(low, abs=TOLERANCE)
    assert estimate.high == pytest.approx(high, abs=TOLERANCE)
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1


@pytest.mark.parametrize(
    ("successes", "n"), [(0, 10), (1, 10), (81, 263), (50, 1000), (10, 10), (2930, 3000)]
)
def test_wilson_agrees_with_scipy(successes: int, n: int) -> None:
    theirs = binomtest(successes, n).proportion_ci(method="wilson")
    ours = wilson(successes, n)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=TOLERANCE)


def test_wilson_gives_the_field_notes_figures() -> None:
    assert wilson(0, 1000).high == pytest.approx(0.0038, abs=5e-5)
    assert (wilson(50, 1000).low, wilson(50, 1000).high) == pytest.approx((0.038, 0.065), abs=5e-4)


def test_no_images_say_nothing() -> None:
    nothing = wilson(0, 0)
    assert (nothing.low, nothing.high, nothing.n) == (0, 1, 0)


@pytest.mark.parametrize(("successes", "n"), [(-1, 5), (6, 5)])
def test_what_is_no_share_is_refused(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match="successes of"):
        wilson(successes, n)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=300))
@settings(max_examples=200)
def test_the_paired_difference_is_the_references(pairs: list[tuple[bool, bool]]) -> None:
    before, after = [was for was, _ in pairs], [now for _, now in pairs]
    value, low, high = reference.newcombe(before, after)
    ours = paired_difference(before, after)
    assert (ours.value, ours.low, ours.high) == pytest.approx((value, low, high), abs=TOLERANCE)
    assert ours.low <= ours.value <= ours.high
    assert (ours.lost, ours.gained) == (pairs.count((True, False)), pairs.count((False, True)))


def test_newcombes_own_example() -> None:
    # Table of 36, 12, 2, 0: the best known worked example of method 10 (0.0569 to 0.3404).
    example = newcombe(both=36, lost=12, gained=2, neither=0)
    assert example.value == pytest.approx(0.20)
    assert (example.low, example.high) == pytest.approx((0.0569, 0.3404), abs=5e-5)


@given(a=st.integers(0, 50), b=st.integers(0, 50), c=st.integers(0, 50), d=st.integers(1, 50))
def test_swapping_before_and_after_mirrors_the_interval(a: int, b: int, c: int, d: int) -> None:
    one, other = newcombe(both=a, lost=b, gained=c, neither=d), newcombe(both=a, lost=c, gained=b, neither=d)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low), abs=1e-12)


def test_pairing_makes_the_interval_narrower_than_two_separate_ones() -> None:
    paired = newcombe(both=2000, lost=60, gained=30, neither=910)
    before, after = wilson(2060, 3000), wilson(2030, 3000)
    assert paired.high - paired.low < 0.5 * (before.high - before.low + after.high - after.low)


def test_tensors_of_booleans_are_taken_too() -> None:
    difference = paired_difference(
        torch.tensor([True, True, False]).tolist(), torch.tensor([True, False, False]).tolist()
    )
    assert (difference.n, difference.lost, difference.gained) == (3, 1, 0)


@pytest.mark.parametrize(("before", "after"), [([True], [True, False]), ([], [])])
def test_sets_of_other_sizes_are_not_paired(before: list[bool], after: list[bool]) -> None:
    with pytest.raises(ValueError, match="not the same images"):
        paired_difference(before, after)


@pytest.mark.parametrize("freedom", [*range(1, 40), 99, 499, 998, 999, 1000, 1001, 2964, 49_999, 10**9])
def test_students_point_is_scipys(freedom: int) -> None:
    assert student_95(freedom) == pytest.approx(t.ppf(0.975, freedom), abs=1e-9)


@given(st.lists(st.floats(0, 2), min_size=2, max_size=200))
def test_the_interval_of_a_mean_distance_is_scipys_within_what_distances_can_be(
    distances: list[float],
) -> None:
    ours = mean_distance(distances)
    assert ours.n == len(distances)
    assert ours.mean == pytest.approx(sum(distances) / len(distances), abs=TOLERANCE)
    spread = sum((one - ours.mean) ** 2 for one in distances) / (len(distances) - 1)
    assert ours.std == pytest.approx(spread**0.5, abs=TOLERANCE)
    if spread > 1e-12:
        theirs = ttest_1samp(distances, 0).confidence_interval(0.95)
        assert (ours.low, ours.high) == pytest.approx((max(0, theirs.low), min(2, theirs.high)), abs=1e-8)


def test_of_one_distance_nothing_is_known_and_of_none_nothing_is_said() -> None:
    one = mean_distance([0.5])
    assert (one.mean, one.std, one.low, one.high) == (0.5, 0, 0, 2)
    with pytest.raises(ValueError, match="at least one"):
        mean_distance([])
