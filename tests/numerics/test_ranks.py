"""Medians and quartiles of places, and how often the interval misses the median, against counting."""

import math
import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from cleanclip.evidence import ranks as checked
from sanitizer.audits.target_ranks import median_bound, rank_distribution
from tests.numerics import reference


@given(st.lists(st.integers(0, 8), min_size=1, max_size=60))
def test_every_place_is_the_references(num_before: list[int]) -> None:
    ours = rank_distribution(num_before, num_classes=9)
    theirs = reference.rank_figures([one + 1 for one in num_before], 9)
    assert {name: getattr(ours, name) for name in theirs} == theirs


@pytest.mark.parametrize("n", [*range(1, 130), 499, 500, 1000])
def test_the_bound_is_the_last_that_misses_seldom_enough(n: int) -> None:
    number = median_bound(n)
    assert number == checked.median_bound(n)
    missed = [
        Fraction(sum(math.comb(n, heads) for heads in range(one)), 2**n) for one in (number, number + 1)
    ]
    assert missed[0] <= Fraction(25, 1000) < missed[1]


@pytest.mark.parametrize("n", [2965, 10_000, 50_000, 200_000, 10**7])
def test_the_bound_of_many_images_is_scipys(n: int) -> None:
    number = median_bound(n)
    assert n > 200_000 or number == checked.median_bound(n)
    assert binom.cdf(number - 1, n, 0.5) <= 0.025 < binom.cdf(number, n, 0.5)


def test_of_few_images_the_interval_is_every_place() -> None:
    few = rank_distribution([2] * 5, num_classes=40)
    assert (few.low, few.median, few.high) == (1, 3, 40)
    six = rank_distribution([2] * 6, num_classes=40)
    assert (six.low, six.median, six.high) == (3, 3, 3)


def test_the_interval_holds_the_median_of_what_was_drawn_from_in_95_of_100_cases() -> None:
    random_ = random.Random(2)
    held = 0
    for _ in range(2000):
        # Places 1 to 100, the lower ones far more often; half of the draws are at or under 25.
        drawn = [int(100 * random_.random() ** 2) for _ in range(60)]
        found = rank_distribution(drawn, num_classes=100)
        held += found.low <= 26 and found.high >= 25
    assert held / 2000 >= 0.95
